//! Warnings about protections that do not take effect when privileges are dropped.

use std::process::Command;

use crate::fixtures::command::{BINARY, TcpBounce};
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{Mode, Network};
use crate::fixtures::process::run;
use crate::fixtures::schema::validate;
use crate::fixtures::seccomp::{Denied, deny};
use nix::errno::Errno;
use nix::libc;
use serde_json::{Value, json};

/// A denied change of user, as under a container's seccomp filter.
const NO_CHANGE_OF_USER: Denied = denied(libc::SYS_setresuid, Errno::EPERM);
/// Missing Landlock, as on a kernel built without it.
const NO_LANDLOCK: Denied = denied(libc::SYS_landlock_create_ruleset, Errno::ENOSYS);
/// Disabled Landlock, as on a kernel booted with an `lsm=` that omits it.
const LANDLOCK_DISABLED: Denied = denied(libc::SYS_landlock_create_ruleset, Errno::EOPNOTSUPP);

const fn denied(call: libc::c_long, errno: Errno) -> Denied {
    Denied { call, first_argument: None, errno }
}

/// Returns a command that runs tcp-bounce under a seccomp filter for `denied`, or without a filter.
fn command_without(network: &Network, denied: Option<Denied>, arguments: &str) -> Command {
    let mut command = TcpBounce::command(&network.host, arguments);
    if let Some(denied) = denied {
        deny(&mut command, denied);
    }
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
        (
            NO_LANDLOCK,
            "the kernel lacks Landlock, or seccomp denies it",
            "use a kernel with CONFIG_SECURITY_LANDLOCK=y",
        ),
        (LANDLOCK_DISABLED, "Landlock was disabled at boot", "boot with lsm=landlock,LIST"),
    ] {
        assert_eq!(warnings(&network, Some(denied), ""), ["no_landlock"]);
        let check = run(&mut command_without(&network, Some(denied), "--check host0")).success();
        let warning = format!("\n  warning: the process has no Landlock sandbox: {reason}\n    hint: {hint}");
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
