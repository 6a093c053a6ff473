//! The privileges that tcp-bounce drops once it is attached.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::process::Command;
use std::thread;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tcp_bounce::internals::{kernel, privileges};

use crate::fixtures::command::TcpBounce;
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{Mode, Network};
use crate::fixtures::process::Process;
use crate::fixtures::until;

const NOBODY: u32 = 65534;

/// Returns the name of each thread, and the lines of `/proc/PID/task/TID/status` that show its privileges.
fn threads(responder: &TcpBounce) -> Vec<(String, Vec<String>)> {
    let tasks = fs::read_dir(format!("/proc/{}/task", responder.0.child.id())).unwrap();
    let lines = |status: String| {
        let lines =
            status.lines().filter(|line| ["Uid", "Gid", "Cap", "NoNewPrivs"].iter().any(|name| line.starts_with(name)));
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    let status = |task: fs::DirEntry| {
        let name = fs::read_to_string(task.path().join("comm")).unwrap().trim().to_owned();
        (name, lines(fs::read_to_string(task.path().join("status")).unwrap()))
    };
    tasks.map(|task| status(task.unwrap())).collect()
}

/// Returns the expected lines for a thread whose user and group are `user`. `capabilities` is the bit mask of its
/// permitted and effective capabilities.
fn nothing_but(user: u32, capabilities: u64) -> Vec<String> {
    let sets = [("CapInh:", 0), ("CapPrm:", capabilities), ("CapEff:", capabilities), ("CapBnd:", 0), ("CapAmb:", 0)];
    let sets = sets.map(|(set, capabilities)| format!("{set} {capabilities:016x}"));
    let ids = ["Uid:", "Gid:"].map(|id| format!("{id} {user} {user} {user} {user}"));
    ids.into_iter().chain(sets).chain(["NoNewPrivs: 1".to_owned()]).collect()
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn threads_run_as_nobody_without_capabilities() {
    let network = Network::new(Mode::Skb);
    // `--metrics-listen` and `--events` each start a thread. Port 946 requires a capability, as all ports below 1024
    // do.
    let responder = network.start_responder("--metrics-listen 946 --events --top-talkers");
    // A thread sets its name after it has started.
    let threads = until("for the names of all threads", || {
        let threads = threads(&responder);
        let has = |name: &str| threads.iter().any(|(thread, _)| thread == name);
        ["tcp-bounce", "ctrl-c", "printer", "metrics", "events"].into_iter().all(has).then_some(threads)
    });
    assert!(threads.iter().all(|(_, status)| *status == nothing_but(NOBODY, 0)), "{threads:?}");
    network.connect(80).unwrap();
    assert_eq!(responder.interrupt().count("SYNs answered"), 1);
}

/// Runs tcp-bounce with a report in a directory of `owner`, and returns the privileges of its threads.
fn with_report(owner: u32) -> Vec<(String, Vec<String>)> {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    chown(folder.path(), Some(owner), Some(owner)).unwrap();
    let report = folder.path().join("report.json");
    let responder = network.start_responder(&format!("--report {}", report.display()));
    let threads = threads(&responder);
    network.connect(80).unwrap();
    responder.interrupt();
    assert!(fs::read_to_string(report).unwrap().contains("\"port\": 80"));
    threads
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn report_keeps_root_without_capabilities() {
    let threads = with_report(0);
    let allowed = [nothing_but(0, 0), nothing_but(NOBODY, 0)];
    assert!(threads.iter().all(|(_, status)| allowed.contains(status)), "{threads:?}");
}

/// Checks a report in another user's directory, as with `sudo`. Root needs CAP_DAC_OVERRIDE to write there.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn report_in_a_foreign_folder_keeps_one_capability() {
    let threads = with_report(NOBODY);
    let kept = nothing_but(0, Capability::CAP_DAC_OVERRIDE.bitmask());
    let allowed = [kept.clone(), nothing_but(NOBODY, 0)];
    assert!(threads.iter().all(|(_, status)| allowed.contains(status)), "{threads:?}");
    assert!(threads.iter().any(|(_, status)| *status == kept), "{threads:?}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn dropped_privileges_forbid_files_sockets_and_signals() {
    let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let namespace = Namespace::new();
    namespace.ip("link set lo up");
    let other_process = Process::start(Command::new("sleep").arg("60"));
    let pid = Pid::from_raw(other_process.child.id() as i32);
    namespace.enter(|| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let give_up = || privileges::drop_privileges(&[], Some(own.path())).unwrap();
        // A thread cannot regain dropped privileges, so the checks run in a separate thread.
        thread::scope(|scope| {
            scope.spawn(|| {
                kill(pid, None).unwrap();
                File::create(own.path().join("file")).unwrap();
                give_up();
                assert!(caps::read(None, CapSet::Permitted).unwrap().is_empty());
                let denied = |error: io::Error| error.kind() == ErrorKind::PermissionDenied;
                if !kernel::is_older_than((5, 13)) {
                    assert!(File::open("/etc/passwd").is_err_and(denied));
                    assert!(File::open("/proc/sys/kernel/osrelease").is_err_and(denied));
                    // Replies follow these settings.
                    File::open("/proc/sys/net/ipv4/tcp_rmem").unwrap();
                    assert!(File::options().write(true).open("/proc/sys/net/ipv4/tcp_rmem").is_err_and(denied));
                    assert!(File::open(own.path().join("file")).is_err_and(denied));
                    assert!(File::create(other.path().join("file")).is_err_and(denied));
                    assert!(Command::new("/bin/true").status().is_err_and(denied));
                }
                if !kernel::is_older_than((6, 2)) {
                    assert!(File::create(own.path().join("file")).is_err_and(denied), "truncates");
                }
                // Writing a report remains possible: create a file, write to it, and rename it over an older report.
                let report = File::options().write(true).create_new(true).open(own.path().join("report"));
                report.unwrap().write_all(b"report").unwrap();
                fs::rename(own.path().join("report"), own.path().join("file")).unwrap();
                if !kernel::is_older_than((6, 7)) {
                    assert!(TcpStream::connect(address).is_err_and(denied));
                    assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).is_err_and(denied));
                }
                if !kernel::is_older_than((6, 12)) {
                    assert_eq!(kill(pid, None), Err(Errno::EPERM));
                }
            });
        });
        // The calling thread keeps its privileges.
        TcpStream::connect(address).unwrap();
    });
}

#[test]
fn unprivileged_thread_returns_its_result() {
    assert_eq!(privileges::run_unprivileged(|| 42).unwrap(), 42);
}
