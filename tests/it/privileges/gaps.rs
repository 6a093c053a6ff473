//! Warnings about protections that do not take effect when privileges are dropped.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::fixtures::command::{BINARY, TcpBounce};
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{Mode, Network};
use crate::fixtures::process::run;
use crate::fixtures::schema::validate;
use nix::errno::Errno;
use nix::libc;
use serde_json::{Value, json};

/// The number of a system call that a seccomp filter denies, and the error that the call returns.
type Denied = (libc::c_long, Errno);

/// A denied change of user, as under a container's seccomp filter.
const NO_CHANGE_OF_USER: Denied = (libc::SYS_setresuid, Errno::EPERM);
/// Missing Landlock, as on a kernel built without it.
const NO_LANDLOCK: Denied = (libc::SYS_landlock_create_ruleset, Errno::ENOSYS);
/// Disabled Landlock, as on a kernel booted with an `lsm=` that omits it.
const LANDLOCK_DISABLED: Denied = (libc::SYS_landlock_create_ruleset, Errno::EOPNOTSUPP);

/// Returns a command that runs tcp-bounce under a seccomp filter for `denied`, or without a filter.
fn command_without(network: &Network, denied: Option<Denied>, arguments: &str) -> Command {
    let mut command = TcpBounce::command(&network.host, arguments);
    let Some((call, errno)) = denied else { return command };
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let is_call = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32);
    let filter = [
        // The number of the system call is the first field of struct seccomp_data.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter { jf: 1, ..is_call },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno as u32),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || {
        let mut filter = filter;
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: The kernel copies the filter during the call.
        let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
        Ok(Errno::result(result).map(drop)?)
    };
    // SAFETY: Between fork and exec, the closure makes one system call. It takes no lock and allocates no memory.
    unsafe { command.pre_exec(install) };
    command
}

/// Returns the codes of the warnings about the host that a start prints, and checks that `--check` predicts them.
#[track_caller]
fn warnings(network: &Network, denied: Option<Denied>, arguments: &str) -> Vec<String> {
    let lines = |option: &str| {
        let arguments = format!("--mode skb --json {option} {arguments} host0");
        let stdout = run(&mut command_without(network, denied, &arguments)).success();
        let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(validate(&lines), Ok(()));
        lines
    };
    let codes = |findings: &[&Value]| -> Vec<String> {
        findings.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
    };
    let check = lines("--check").remove(0);
    assert_eq!(check["starts"], true, "{check:#}");
    let predicted: Vec<&Value> = check["host"]["findings"].as_array().unwrap().iter().collect();
    assert!(predicted.iter().all(|finding| finding["severity"] == "warning"), "{check:#}");

    let started = lines("--duration 1ms");
    let warnings = started.iter().filter(|line| line["type"] == "warning" && line["interface"] == json!(null));
    let printed = codes(&warnings.collect::<Vec<_>>());
    assert_eq!(printed, codes(&predicted));
    printed
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn warns_if_the_process_stays_root() {
    let network = Network::new(Mode::Skb);
    assert_eq!(warnings(&network, None, ""), [""; 0]);
    assert_eq!(warnings(&network, Some(NO_CHANGE_OF_USER), ""), ["still_root"]);
    let started = run(&mut command_without(&network, Some(NO_CHANGE_OF_USER), "--duration 1ms host0")).success();
    let warning =
        "\nwarning: the process keeps running as root: EPERM: Operation not permitted\n  hint: grant CAP_SETUID";
    assert!(started.contains(warning), "{started}");
}

/// Checks a report, for which the process stays root on purpose.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_report_needs_no_warning_about_root() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    let report = format!("--report {}", folder.path().join("report.json").display());
    assert_eq!(warnings(&network, Some(NO_CHANGE_OF_USER), &report), [""; 0]);
    assert_eq!(warnings(&network, Some(NO_LANDLOCK), &report), ["no_landlock"]);
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn warns_if_landlock_does_not_take_effect() {
    let network = Network::new(Mode::Skb);
    for (denied, reason, hint) in [
        (NO_LANDLOCK, "the kernel lacks it or seccomp denies it", "use a kernel with CONFIG_SECURITY_LANDLOCK=y"),
        (LANDLOCK_DISABLED, "Landlock is disabled at boot", "boot with lsm=landlock,LIST"),
    ] {
        assert_eq!(warnings(&network, Some(denied), ""), ["no_landlock"]);
        let check = run(&mut command_without(&network, Some(denied), "--check host0")).success();
        let warning = format!("\n  warning: the process gets no Landlock sandbox: {reason}\n    hint: {hint}");
        assert!(check.contains(&warning), "{check}");
    }
}

/// Checks a user namespace that maps no user but root, as in a rootless container.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn the_check_predicts_that_root_of_a_user_namespace_stays_root() {
    let namespace = Namespace::new();
    let script = format!("ip link add host0 type veth peer name client0 && exec {BINARY} --check --json host0");
    let finished = run(namespace.command("unshare").args(["--map-root-user", "--net", "sh", "-c", &script]));
    let check: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(check["host"]["findings"][0]["code"], "still_root", "{check:#}");
}
