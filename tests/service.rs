//! What tcp-bounce tells a service manager, as `sd_notify(3)` has it.

mod common;

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use common::bouncer::TcpBounce;
use common::network::{Mode, Network};
use common::process::{Process, run};
use common::programs::attached;
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// A service manager's socket.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { socket, folder }
    }

    fn start(&self, network: &Network, arguments: &str) -> Process {
        let mut command = TcpBounce::command(&network.host, arguments);
        Process::start(command.env("NOTIFY_SOCKET", self.folder.path().join("notify")))
    }

    fn hear(&self) -> String {
        let mut message = [0; 1024];
        let length = self.socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_service_manager_hears_when_it_is_attached_and_when_it_ends() {
    let network = Network::new(Mode::Skb);
    let manager = Manager::new();
    let bouncer = manager.start(&network, "host0");
    assert_eq!(manager.hear(), "READY=1\nSTATUS=Answering on host0 (skb mode)\n");
    assert!(attached(&network.host, "host0").is_some());
    network.connect(80).unwrap();
    bouncer.signal(Signal::SIGTERM);
    assert_eq!(manager.hear(), "STOPPING=1\n");
    bouncer.finish().success();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn what_does_not_start_is_not_ready() {
    let network = Network::new(Mode::Skb);
    let manager = Manager::new();
    assert!(!manager.start(&network, "nothing0").finish().status.success());
    manager.socket.set_nonblocking(true).unwrap();
    assert_eq!(manager.socket.recv(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_service_manager_that_cannot_be_reached_is_an_error() {
    let network = Network::new(Mode::Skb);
    let finished = run(TcpBounce::command(&network.host, "host0").env("NOTIFY_SOCKET", "/nowhere/notify"));
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    let (line, hint) = finished.stderr.split_once('\n').unwrap();
    assert!(line.starts_with("tcp-bounce: cannot tell the service manager that it has started: "), "{line}");
    assert!(hint.starts_with("  hint: unset NOTIFY_SOCKET"), "{hint}");
    network.assert_nothing_is_attached();
}
