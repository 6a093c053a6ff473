//! The privileges that tcp-bounce requires, and the errors when they are missing.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::Stdio;

use crate::fixtures::command::{BINARY, STARTED, TcpBounce, assert_error};
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{Mode, Network};
use crate::fixtures::process::{Process, run};
use crate::fixtures::programs::attached;

/// Starts tcp-bounce on `host0` as user 65534. `capabilities` lists the remaining capabilities, each after `,+`.
///
/// This user may be unable to read the binary's directory, so the process executes the binary from standard input.
fn start_as_nobody(network: &Network, capabilities: &str, arguments: &[&str]) -> Process {
    let mut command = network.host.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=keep"]);
    for set in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
        command.arg(format!("{set}=-all{capabilities}"));
    }
    command.args(["--", "/proc/self/fd/0", "host0"]).args(arguments);
    let binary = File::open(BINARY).unwrap();
    Process::start_as_is(command.stdin(binary).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn any_user_with_the_capabilities_can_start() {
    let network = Network::new(Mode::Skb);
    for capabilities in [",+bpf,+net_admin,+perfmon", ",+sys_admin,+net_admin"] {
        let process = start_as_nobody(&network, capabilities, &[]);
        process.wait_for(STARTED);
        let status = fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
        assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
        network.connect(80).unwrap();
        assert_eq!(TcpBounce(process).interrupt().count("SYNs answered"), 1);
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn error_names_the_missing_capabilities() {
    let network = Network::new(Mode::Skb);
    for (capabilities, missing) in [
        ("", "missing capabilities: CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON\n"),
        (",+bpf", "missing capabilities: CAP_NET_ADMIN, CAP_PERFMON\n"),
        (",+bpf,+net_admin", "missing capability: CAP_PERFMON\n"),
        (",+net_admin,+perfmon", "missing capability: CAP_BPF\n"),
        (",+bpf,+perfmon", "missing capability: CAP_NET_ADMIN\n"),
        (",+sys_admin", "missing capability: CAP_NET_ADMIN\n"),
    ] {
        let finished = start_as_nobody(&network, capabilities, &[]).finish();
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        assert!(finished.stderr.starts_with(&format!("error: {missing}")), "{capabilities}: {finished:?}");
        assert!(finished.stderr.contains("hint: "), "{finished:?}");
        assert_eq!(attached(&network.host, "host0"), None);
    }
}

/// Checks options that require permissions beyond the capabilities of a plain start.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn error_names_the_option_that_lacks_a_right() {
    let network = Network::new(Mode::Skb);
    let mut key = tempfile::NamedTempFile::new().unwrap();
    writeln!(key, "{}", "0123".repeat(8)).unwrap();
    let key = key.path().to_str().unwrap();
    for (arguments, status, error, hint) in [
        (&["--metrics-listen", "946"][..], 2, "cannot serve metrics on 127.0.0.1:946: Permission denied", "1023"),
        (&["--isn", "keyed", "--key-file", key], 2, "cannot read the key file ", "a user who may read it"),
    ] {
        let finished = start_as_nobody(&network, ",+bpf,+net_admin,+perfmon", arguments).finish();
        assert_eq!(finished.status.code(), Some(status), "{finished:?}");
        assert_error(&finished.stderr, &[error], hint);
        assert_eq!(attached(&network.host, "host0"), None);
    }
}

/// Checks root without capabilities, as in a container.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn error_names_the_capabilities_that_root_lacks() {
    let network = Network::new(Mode::Skb);
    let mut command = network.host.command("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--", BINARY, "host0"]);
    let finished = run(&mut command);
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stderr.contains("missing capabilities: CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON"), "{finished:?}");
}

/// Checks root of a user namespace, as in a rootless container. Root's capabilities apply only to that namespace.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn error_explains_the_user_namespace() {
    let namespace = Namespace::new();
    let script = format!("ip link add host0 type veth peer name client0 && exec {BINARY} host0");
    let finished = run(namespace.command("unshare").args(["--map-root-user", "--net", "sh", "-c", &script]));
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    let (line, rest) = finished.stderr.split_once('\n').unwrap();
    assert_eq!(line, "error: cannot load the XDP program: Operation not permitted (os error 1)");
    assert!(rest.starts_with("  hint: run tcp-bounce as root on the host"), "{rest}");
    assert!(rest.contains("\n  libbpf: "), "{rest}");
}
