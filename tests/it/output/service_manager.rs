//! Notifications to a service manager, by the protocol of `sd_notify(3)`.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::fixtures::command::{STARTED, TcpBounce};
use crate::fixtures::network::{Mode, Network};
use crate::fixtures::process::Process;
use crate::fixtures::programs::attached;

/// A service manager's notification socket, in a temporary directory.
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
fn start_and_end_are_notified() {
    let network = Network::new(Mode::Skb);
    let manager = Manager::new();
    let responder = manager.start(&network, "host0");
    assert_eq!(manager.hear(), "READY=1\nSTATUS=answering on host0 (skb mode)\n");
    assert!(attached(&network.host, "host0").is_some());
    network.connect(80).unwrap();
    responder.signal(Signal::SIGTERM);
    assert_eq!(manager.hear(), "STOPPING=1\n");
    network.assert_nothing_is_attached();
    responder.finish().success();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn partial_start_sends_no_ready() {
    let network = Network::new(Mode::Skb);
    network.add_cable();
    let _other = TcpBounce::start(&network.host, "host1");
    let manager = Manager::new();
    // The program is attached to `host0` for a moment, until `host1` is refused.
    assert!(!manager.start(&network, "host0 host1").finish().status.success());
    manager.socket.set_nonblocking(true).unwrap();
    assert_eq!(manager.socket.recv(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn full_socket_does_not_block_the_end() {
    let network = Network::new(Mode::Skb);
    let manager = Manager::new();
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(manager.folder.path().join("notify")).unwrap();
    sender.set_nonblocking(true).unwrap();
    while sender.send(b"STATUS=busy").is_ok() {}
    let responder = manager.start(&network, "host0");
    responder.wait_for(STARTED);
    network.connect(80).unwrap();
    assert_eq!(TcpBounce(responder).interrupt().count("SYNs answered"), 1);
    network.assert_nothing_is_attached();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn missing_socket_is_ignored() {
    let network = Network::new(Mode::Skb);
    let mut command = TcpBounce::command(&network.host, "host0");
    let responder = Process::start(command.env("NOTIFY_SOCKET", "/nowhere/notify"));
    responder.wait_for(STARTED);
    network.connect(80).unwrap();
    assert_eq!(TcpBounce(responder).interrupt().count("SYNs answered"), 1);
}
