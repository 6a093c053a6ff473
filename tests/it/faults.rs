//! Faults of the environment, such as SIGKILL, a full disk or a lack of memory.
//!
//! Nothing stays attached, the cause is reported, and the program answers as long as it is attached.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use libbpf_rs::query::ProgInfoIter;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd;
use serde_json::Value;
use tcp_bounce_wire::Verdict;

use crate::fixtures::command::{BINARY, STARTED, TcpBounce, assert_error};
use crate::fixtures::network::{HOST, Mode, Network, connect};
use crate::fixtures::process::{Finished, Process, run};
use crate::fixtures::programs::attached;
use crate::fixtures::schema::validate;
use crate::fixtures::{accept, amount, until};

/// Returns whether a program is still loaded. The kernel unloads it a moment after its last reference is gone.
fn is_loaded(program: u32) -> bool {
    ProgInfoIter::default().any(|info| info.id == program)
}

/// Checks a run without `/proc` and `/sys`, as in a chroot that contains only the command.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn answers_and_counts_without_proc_and_sys() {
    let network = Network::new(Mode::Skb);
    let hidden = "mount -t tmpfs tmpfs /sys && mount -t tmpfs tmpfs /proc && exec \"$@\"";
    let mut command = network.host.command("unshare");
    command.args(["--mount", "sh", "-c", hidden, "sh", BINARY, "--mode", "skb", "--top-talkers", "host0"]);
    let responder = TcpBounce(Process::start(&mut command));
    let started = responder.0.wait_for(STARTED);
    network.open(HOST.into(), 80);
    network.wait_until_counted(Verdict::Completed, 1);
    let summary = responder.interrupt();
    assert_eq!(summary.count("SYNs answered"), 1, "{started} {summary:?}");
    assert_eq!(summary.count("handshakes completed"), 1, "{started} {summary:?}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn sigkill_at_any_moment_leaves_nothing_attached() {
    let network = Network::new(Mode::Skb);
    let start =
        || Process::start(&mut TcpBounce::command(&network.host, "--mode skb --top-talkers --duration 200ms host0"));
    let begin = Instant::now();
    start().finish().success();
    let whole_run = begin.elapsed();
    let mut random = fastrand::Rng::with_seed(6);
    let mut moment = || Duration::from_micros(random.u64(..whole_run.as_micros() as u64));
    let kills = amount("KILLS", 40, 200);
    let mut started = 0;
    for round in 0..kills {
        let process = start();
        if round % 2 == 1 {
            // Half of the kills come after the start, however long that takes.
            process.stdout.wait(|text, ended| (ended || text.contains(STARTED)).then_some(()));
        }
        thread::sleep(moment());
        let program = attached(&network.host, "host0");
        process.signal(Signal::SIGKILL);
        started += usize::from(process.finish().stdout.contains(STARTED));
        network.wait_until_detached();
        if let Some(program) = program {
            until("for the program to be unloaded", || (!is_loaded(program)).then_some(()));
        }
        assert!(network.connect(80).is_err(), "round {round}");
    }
    println!("{started} of {kills} had started when they were killed, a run takes {whole_run:?}");
    assert!(started >= kills / 2, "{started} of {kills}");
}

/// Checks that the program, which runs in the kernel, answers while the process is stopped.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn stopped_process_keeps_answering() {
    let load = Duration::from_secs(amount("STOPPED_SECONDS", 2, 10) as u64);
    let network = Network::new(Mode::Skb);
    let arguments = "--mode skb --json --events --on-connect close host0";
    let process = Process::start(&mut TcpBounce::command(&network.host, arguments));
    process.wait_for("\"started\"");
    process.signal(Signal::SIGSTOP);
    let is_stopped = || fs::read_to_string(format!("/proc/{}/stat", process.child.id())).unwrap().contains(") T ");
    until("for it to stop", || is_stopped().then_some(()));
    let connections = network.client.enter(|| {
        let start = Instant::now();
        let ports = (1..=u16::MAX).cycle().take_while(|_| start.elapsed() < load);
        ports.inspect(|&port| drop(connect(HOST, port).unwrap())).count() as u64
    });
    println!("{connections} connections in {load:?}");
    assert!(is_stopped());
    assert!(network.counters()[Verdict::Answered] >= connections);
    process.signal(Signal::SIGCONT);
    process.signal(Signal::SIGINT);
    let output = process.finish().success();
    let summary: Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    let [seen, delivered, lost] =
        ["seen", "delivered", "dropped"].map(|name| summary["events"][name].as_u64().unwrap());
    // The stopped process read no events, so the ring buffer may have dropped some.
    assert!(seen > connections && delivered > 0 && delivered + lost == seen, "{summary}");
}

/// Runs tcp-bounce with a resource limit, and checks that it leaves nothing attached.
fn limited(network: &Network, resource: Resource, limit: u64) -> Finished {
    let mut command = TcpBounce::command(&network.host, "--mode skb --top-talkers --events --duration 1ms host0");
    let lower = move || Ok(setrlimit(resource, limit, limit)?);
    // SAFETY: Between fork and exec, the closure makes one system call. It takes no lock and allocates no memory.
    unsafe { command.pre_exec(lower) };
    let finished = run(&mut command);
    assert_eq!(attached(&network.host, "host0"), None);
    finished
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn too_few_descriptors_are_reported() {
    let network = Network::new(Mode::Skb);
    // The lowest limit leaves too few descriptors to read a file, and the highest too few to create the last map.
    for limit in 4..16 {
        let finished = limited(&network, Resource::RLIMIT_NOFILE, limit);
        assert!(!finished.status.success(), "{finished:?}");
        let output = finished.stderr;
        let says_why = output.contains("Too many open files") || output.contains("hint: raise the limit of open files");
        assert!(output.starts_with("error: ") && says_why, "{limit}: {output}");
    }
}

/// Sets the soft limit of open files of a running process.
fn limit_open_files(process: &Process, limit: u64) {
    // tcp-bounce runs as nobody, and processes of one user may limit each other (prlimit(2)). Root needs
    // CAP_SYS_RESOURCE, which it may lack in a container.
    let mut prlimit = Command::new("setpriv");
    prlimit.args(["--reuid=65534", "--regid=65534", "--clear-groups", "prlimit"]);
    run(prlimit.args([format!("--pid={}", process.child.id()), format!("--nofile={limit}:")])).success();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn keeps_answering_while_the_host_cannot_be_read() {
    let network = Network::new(Mode::Skb);
    let process = Process::start(&mut TcpBounce::command(&network.host, "--mode skb --json host0"));
    process.wait_for("\"started\"");
    // Without a descriptor for a netlink socket, tcp-bounce cannot read the state of the host.
    limit_open_files(&process, 0);
    process.wait_for("\"host_unreadable\"");
    network.connect(80).unwrap();
    // Allow a few more attempts. None of them may warn again.
    thread::sleep(Duration::from_secs(2));
    network.connect(443).unwrap();
    limit_open_files(&process, 1024);
    process.wait_for("\"host_readable\"");
    let listener = network.listen(2222);
    process.wait_for("\"listeners\":\"2222\"");
    network.connect(2222).unwrap();
    drop(accept(&listener));
    process.signal(Signal::SIGINT);
    let output = process.finish().success();
    let lines: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(validate(&lines), Ok(()));
    let types: Vec<&str> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["started", "host_unreadable", "host_readable", "ports_changed", "summary"]);
    assert_eq!(lines[1]["message"], "cannot list the network interfaces: Too many open files (os error 24)");
}

/// Checks that a start with too little address space never reports success, and reports the shortage if it can.
///
/// With hardly any address space, the process dies before it can print anything.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn too_little_address_space_is_reported() {
    let network = Network::new(Mode::Skb);
    let mut refusals = 0;
    // `any` ends at the first limit that is high enough.
    let starts = (8..256).any(|megabytes| {
        let finished = limited(&network, Resource::RLIMIT_AS, megabytes << 20);
        if !finished.status.success() {
            assert_eq!(finished.stdout, "", "{megabytes} MiB: {finished:?}");
        }
        if finished.status.code() == Some(1) {
            assert_lacks_memory(&finished.stderr);
            refusals += 1;
        }
        finished.status.success()
    });
    assert!(starts && refusals > 0, "{refusals}");
}

#[track_caller]
fn assert_lacks_memory(output: &str) {
    // The standard library may first print an error about a thread for which it cannot allocate a stack.
    let mut lines = output.lines().skip_while(|line| !line.starts_with("error: "));
    let line = lines.next().unwrap_or_default();
    // "Resource temporarily unavailable" (EAGAIN) is the error if a thread cannot be started.
    let reasons = ["out of memory", "Cannot allocate memory", "Resource temporarily unavailable"];
    assert!(reasons.iter().any(|reason| line.contains(reason)), "{output}");
    let hint = lines.next().unwrap_or_default();
    assert!(
        hint.starts_with("  hint: raise the limit of memory or threads") && hint.contains("MemoryMax="),
        "{output}"
    );
}

/// A cgroup with limited memory. It is removed when this value is dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    /// Creates a cgroup that limits memory to `bytes`.
    ///
    /// In cgroup v1, its parent is the cgroup of this process. In cgroup v2, a cgroup that has processes cannot enable
    /// controllers for its children, so the parent is the nearest ancestor that enables the memory controller.
    fn with_memory(bytes: u64) -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own: Vec<Vec<&str>> = own.lines().map(|line| line.splitn(3, ':').collect()).collect();
        let path = |root: &str, path: &str| Path::new(root).join(path.trim_start_matches('/'));
        let v1 = own.iter().find(|fields| fields[1].split(',').any(|controller| controller == "memory"));
        let (parent, limit) = if let Some(fields) = v1 {
            (path("/sys/fs/cgroup/memory", fields[2]), "memory.limit_in_bytes")
        } else {
            let fields = own.iter().find(|fields| fields[0] == "0").expect("cgroup v2 is mounted");
            let own = path("/sys/fs/cgroup", fields[2]);
            let controllers = |path: &Path| fs::read_to_string(path.join("cgroup.subtree_control")).unwrap_or_default();
            let parent = own.ancestors().find(|path| controllers(path).split_whitespace().any(|it| it == "memory"));
            (parent.expect("an ancestor enables the memory controller").to_owned(), "memory.max")
        };
        let cgroup = Self(parent.join(format!("tcp-bounce-test-{}-{bytes}", std::process::id())));
        fs::create_dir(&cgroup.0).unwrap();
        fs::write(cgroup.0.join(limit), bytes.to_string()).unwrap();
        cgroup
    }

    /// Makes `command` run in the cgroup.
    fn enter(&self, command: &mut Command) {
        let processes = OpenOptions::new().write(true).open(self.0.join("cgroup.procs")).unwrap();
        let enter = move || unistd::write(&processes, b"0").map(drop).map_err(Into::into);
        // SAFETY: Between fork and exec, the closure makes one system call. It takes no lock and allocates no memory.
        unsafe { command.pre_exec(enter) };
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel removes a cgroup only after its last process has ended.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Checks the memory limit of a service or container. Since Linux 5.11 the kernel charges maps to the cgroup.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn too_little_memory_for_maps_is_reported() {
    const MIB: u64 = 1 << 20;
    let network = Network::new(Mode::Skb);
    let run_within = |limit| {
        let cgroup = Cgroup::with_memory(limit);
        let mut command = TcpBounce::command(&network.host, "--mode skb --top-talkers --events --duration 1ms host0");
        cgroup.enter(&mut command);
        let finished = run(&mut command);
        assert_eq!(attached(&network.host, "host0"), None);
        finished
    };
    // These limits suffice for the process, but not for its maps: the ring buffer takes 4 MiB, and the client tables
    // take 1.5 MiB on one CPU.
    for limit in [3 * MIB, 4 * MIB] {
        let refusal = (0..20).map(|_| run_within(limit)).find(|finished| {
            // If a thread needs a page while a map takes the last one, the kernel kills the process.
            assert!([Some(1), None].contains(&finished.status.code()), "{finished:?}");
            assert_eq!(finished.stdout, "");
            finished.status.code().is_some()
        });
        assert_lacks_memory(&refusal.expect("at least one run is not killed").stderr);
    }
    run_within(128 * MIB).success();
}

/// Returns a command that mounts a tmpfs on `folder`, runs the shell script `prepare` in it, and starts tcp-bounce
/// there.
///
/// Only this command and its children see the mount.
fn with_disk(network: &Network, folder: &Path, options: &str, prepare: &str, arguments: &str) -> Command {
    let script = format!(
        "mount -t tmpfs -o {options} tmpfs {folder} && cd {folder} && {{ {prepare}; }} && exec {BINARY} {arguments}",
        folder = folder.display()
    );
    let mut command = network.host.command("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
    command
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn full_or_read_only_disk_prevents_the_start() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    // On a full file system, tcp-bounce may still be able to create the report, but cannot write to it.
    let fill = "! cat /dev/zero 2>/dev/null >full";
    for (options, prepare, reason) in [
        ("size=64k,ro", "true", "Read-only file system"),
        ("size=64k", fill, "No space left on device"),
        ("size=64k,nr_inodes=2", fill, "No space left on device"),
    ] {
        let disk = |arguments| run(&mut with_disk(&network, folder.path(), options, prepare, arguments));
        let finished = disk("--mode skb --report report.json host0");
        assert_eq!(finished.status.code(), Some(1), "{options}: {finished:?}");
        assert_eq!(finished.stdout, "");
        assert_error(&finished.stderr, &["cannot write the report report.json", reason], "has free space");
        assert_eq!(attached(&network.host, "host0"), None);
        let check = disk("--check --report report.json host0");
        assert_eq!(check.status.code(), Some(1), "{options}: {check:?}");
        assert!(check.stdout.contains(&format!("error: cannot write the report report.json: {reason}")), "{check:?}");
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn disk_that_fills_up_loses_only_the_report() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    let arguments = "--mode skb --report report.json host0";
    let process =
        Process::start(&mut with_disk(&network, folder.path(), "size=64k", "echo old >report.json", arguments));
    process.wait_for(STARTED);
    // The mount stays as long as this file is open.
    let mounted = File::open(format!("/proc/{}/root{}", process.child.id(), folder.path().display())).unwrap();
    let disk = PathBuf::from(format!("/proc/self/fd/{}", mounted.as_raw_fd()));
    let error = fs::write(disk.join("full"), [0; 65_536 + 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    for port in 1..=100 {
        network.connect(port).unwrap();
    }
    network.wait_until_counted(Verdict::Completed, 100);
    process.signal(Signal::SIGINT);
    let finished = process.finish();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert_error(
        &finished.stderr,
        &["cannot write the report report.json", "No space left on device"],
        "has free space",
    );
    assert!(finished.stdout.contains(" 100 SYNs answered\n"), "{finished:?}");
    network.assert_nothing_is_attached();
    // The old report is intact, and only the file that fills the disk is next to it.
    assert_eq!(fs::read_to_string(disk.join("report.json")).unwrap(), "old\n");
    assert_eq!(fs::read_dir(&disk).unwrap().count(), 2);
}
