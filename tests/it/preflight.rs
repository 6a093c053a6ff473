//! `--check`: it reports findings, agrees with a real start, and changes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tcp_bounce::internals::kernel::has_frags;
use tcp_bounce_wire::address_set::MAX_RANGES;

use crate::fixtures::command::{BINARY, STARTED, TcpBounce, assert_error, refusal, usage_error};
use crate::fixtures::namespace::Namespace;
use crate::fixtures::network::{HOST, Mode, Network};
use crate::fixtures::process::{Finished, Process, run};
use crate::fixtures::programs::{BENCH_OBJECT, attached, ip_link_set, pass};
use crate::fixtures::schema::validate;
use crate::fixtures::seccomp::{RAW_TRACEPOINTS, deny};
use crate::fixtures::{accept, exchange};

/// Runs a check. Returns its JSON, and whether it predicts a successful start.
#[track_caller]
fn check_with(command: &mut Command) -> (Value, bool) {
    let finished = run(command);
    assert_eq!(finished.stderr, "", "{finished:?}");
    let report: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(report["type"], "check");
    assert_eq!(validate(std::slice::from_ref(&report)), Ok(()));
    let code = finished.status.code();
    assert_eq!(code, Some(if report["starts"] == true { 0 } else { 1 }), "{finished:?}");
    (report, code == Some(0))
}

/// Starts tcp-bounce, and interrupts it once it has started. Returns the output up to the start, or the failed process.
#[track_caller]
fn start_with(command: &mut Command) -> Result<String, Finished> {
    let process = Process::start(command);
    match process.stdout.wait_for(STARTED) {
        Some(line) => {
            process.signal(Signal::SIGINT);
            process.finish().success();
            Ok(line)
        }
        None => Err(process.finish()),
    }
}

/// Runs a check and a start with the same arguments, verifies that they agree, and returns the check's JSON.
#[track_caller]
fn check(namespace: &Namespace, arguments: &str) -> Value {
    check_under(namespace, "env", arguments)
}

/// Runs a check and a start as [`check`] does, both under `wrapper`, a command such as `setpriv`.
#[track_caller]
fn check_under(namespace: &Namespace, wrapper: &str, arguments: &str) -> Value {
    let command = |option: &str| {
        let mut words = wrapper.split_whitespace();
        let mut command = namespace.command(words.next().unwrap());
        command.args(words).arg(BINARY).args(option.split_whitespace()).args(arguments.split_whitespace());
        command
    };
    let before = namespace.ip("-details link show");
    let (report, would_start) = check_with(&mut command("--check --json"));
    assert_eq!(namespace.ip("-details link show"), before);
    match start_with(&mut command("")) {
        Ok(line) => {
            assert!(would_start, "{line} {report:#}");
            for interface in report["interfaces"].as_array().unwrap() {
                let words = format!("{} ({} mode", text(&interface["name"]), text(&interface["mode"]));
                assert!(line.contains(&words), "{line} {report:#}");
            }
        }
        Err(finished) => assert!(!would_start, "{finished:?} {report:#}"),
    }
    report
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Checks the severity and the code of the only finding. Returns its command, or its hint if it has no command.
#[track_caller]
fn only<'a>(findings: &'a Value, severity: &str, code: &str) -> &'a str {
    let [finding] = findings.as_array().unwrap().as_slice() else { panic!("{findings:#}") };
    assert_eq!((text(&finding["severity"]), text(&finding["code"])), (severity, code), "{finding:#}");
    finding["command"].as_str().unwrap_or(text(&finding["hint"]))
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn describes_a_veth() {
    let network = Network::new(Mode::Skb);
    let _listeners = [network.listen(2222), network.listen(2223)];
    let report = check(&network.host, "--exclude-ports 22 host0");
    assert_eq!(report["excluded"], json!({ "listeners": "2222-2223", "configured": "22" }));
    assert_eq!(report["host"]["missing_capabilities"], json!([]));
    assert_eq!(report["host"]["findings"], json!([]));
    let release = network.host.run("uname", "-r");
    assert_eq!(report["host"]["kernel"]["release"], release.trim());
    assert_eq!(report["host"]["kernel"]["xdp_links"], true);

    let host0 = &report["interfaces"][0];
    for (field, value) in [
        ("name", json!("host0")),
        ("kind", json!("veth")),
        ("driver", json!("veth")),
        ("up", json!(true)),
        ("mtu", json!(1500)),
        ("mode", json!("skb")),
        ("loads", json!(true)),
        ("master", json!(null)),
        ("vlans", json!([])),
        ("program", json!(null)),
        ("findings", json!([])),
    ] {
        assert_eq!(host0[field], value, "{field} {report:#}");
    }
    assert_eq!(host0["addresses"][0], HOST.to_string());
    assert!(text(&host0["reason"]).starts_with("native mode on veth loses replies"), "{report:#}");
    network.assert_nothing_is_attached();
}

/// Checks that `--check` and the start message name the actions, or the profile and its system in their place.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn actions_or_the_profile_are_named() {
    let network = Network::new(Mode::Skb);
    for (arguments, profile, on_connect) in [
        ("--on-connect echo:7 host0", json!(null), json!(["echo:7", "ignore"])),
        ("--on-connect identify host0", json!(null), json!(["identify"])),
        (
            "--on-connect identify=json --on-connect identify:80,8080 host0",
            json!(null),
            json!(["identify:80,8080", "identify=json"]),
        ),
        (
            "--profile windows-server host0",
            json!({"name": "windows-server", "system": "windows-server-2016"}),
            json!(null),
        ),
    ] {
        let report = check(&network.host, arguments);
        let mut start = TcpBounce::command(&network.host, &format!("--json --duration 1ms {arguments}"));
        let started = run(&mut start).success();
        let started: Value = serde_json::from_str(started.lines().next().unwrap()).unwrap();
        assert_eq!(validate(std::slice::from_ref(&started)), Ok(()));
        for message in [report, started] {
            assert_eq!((&message["profile"], &message["on_connect"]), (&profile, &on_connect), "{message:#}");
        }
    }
}

/// Checks that `--check` lists the services with the ports on which a start with the same key answers.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn lists_the_services_of_a_profile() {
    const PROFILE: &str = "[[service]]\nname = \"web\"\nports = \"80,random:2,8000-8001\"\nbanner = \"a\"\n\
                           [[service]]\nports = 22\nbanner = \"b\"\n";
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("host.toml"), PROFILE).unwrap();
    fs::write(path("key"), "0123456789abcdef0123456789abcdef").unwrap();
    let arguments = format!(
        "--profile {} --key-file {} --exclude-ports 8001 host0",
        path("host.toml").display(),
        path("key").display()
    );
    let report = check(&network.host, &arguments);
    let web = text(&report["services"][0]["ports"]);
    let mut ports: BTreeSet<&str> = web.split(',').collect();
    assert!(ports.len() == 4 && ports.contains("80") && ports.contains("8000"), "{report:#}");
    assert_eq!(report["services"], json!([{ "name": "web", "ports": web }, { "name": null, "ports": "22" }]));
    let answered = start_with(&mut TcpBounce::command(&network.host, &arguments)).unwrap();
    ports.insert("22");
    let (_, answered) = answered.split_once(" answering on TCP ports ").unwrap();
    assert_eq!(answered.split_whitespace().next().unwrap().split(',').collect::<BTreeSet<_>>(), ports);
    let output = run(&mut TcpBounce::command(&network.host, &format!("--check {arguments}"))).success();
    let rows = format!("\nservices:\n  web {}\n  -   22\n", web.replace(',', ", "));
    assert!(output.contains(&rows), "{rows} {output}");
    assert_eq!(check(&network.host, "host0")["services"], json!(null));
}

/// Checks that `--check` and the start warn about a profile without a free port, and about long payloads.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn warns_of_a_profile_without_effect() {
    let network = Network::new(Mode::Skb);
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let profile = format!("[[service]]\nname = \"web\"\nports = \"80,554\"\nbanner = \"{}\"\n", "x".repeat(251));
    fs::write(&file, profile).unwrap();
    let file = format!("--profile {}", file.path().display());
    let _http = network.listen(80);
    for (arguments, code, message) in [
        (
            "--profile ip-camera --ports 80",
            "no_port_left",
            "the profile may have no effect: every selected port has a local listener (80)",
        ),
        (&file, "long_payloads", "payloads may be too long for the driver: web (251 bytes)"),
    ] {
        let report = check(&network.host, &format!("{arguments} host0"));
        only(&report["host"]["findings"], "warning", code);
        let start = run(&mut TcpBounce::command(&network.host, &format!("--duration 1ms {arguments} host0"))).success();
        assert!(start.contains(&format!("\nwarning: {message}")), "{start}");
    }
    let report = check(&network.host, "--profile ip-camera host0");
    assert_eq!(report["host"]["findings"], json!([]));
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn reports_the_features_that_ethtool_shows() {
    let network = Network::new(Mode::Skb);
    let features = || network.host.run("ethtool", "-k host0");
    for (state, shown) in [("on", "rx-vlan-offload: on\n"), ("off", "rx-vlan-offload: off\n")] {
        network.host.run("ethtool", &format!("-K host0 rxvlan {state}"));
        assert!(features().contains(shown), "{}", features());
        let offloads = &check(&network.host, "host0")["interfaces"][0]["offloads"];
        assert_eq!(offloads["rx_vlan"], json!({ "on": state == "on", "fixed": false }));
    }
    let offloads = &check(&network.host, "host0")["interfaces"][0]["offloads"];
    assert!(features().contains("large-receive-offload: off [fixed]"), "{}", features());
    assert_eq!(offloads["lro"], json!({ "on": false, "fixed": true }));
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn reports_unfit_interfaces() {
    let network = Network::new(Mode::Skb);
    network.host.ip("tuntap add tun0 mode tun");
    for interface in ["lo", "tun0"] {
        let report = check(&network.host, interface);
        only(&report["interfaces"][0]["findings"], "error", "unfit");
        assert_eq!(report["interfaces"][0]["mode"], json!(null));
    }
    // A finding about `lo` does not affect `host0`.
    let report = check(&network.host, "host0 lo");
    assert_eq!(report["interfaces"][0]["findings"], json!([]));
    only(&report["interfaces"][1]["findings"], "error", "unfit");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn reports_a_foreign_program_and_a_command_that_removes_it() {
    let network = Network::new(Mode::Skb);
    for (attach, mode) in [("xdpdrv", "native"), ("xdpgeneric", "skb")] {
        ip_link_set(&network.host, &format!("host0 {attach} object {BENCH_OBJECT} program pass"));
        let foreign = attached(&network.host, "host0").unwrap();
        let report = check(&network.host, "host0");
        let host0 = &report["interfaces"][0];
        assert_eq!(host0["program"], json!({ "name": "pass", "id": foreign, "mode": mode, "has_link": false }));
        assert_eq!(attached(&network.host, "host0"), Some(foreign));

        let command = only(&host0["findings"], "error", "occupied");
        network.host.ip(command.strip_prefix("ip ").unwrap());
        assert_eq!(check(&network.host, "host0")["interfaces"][0]["findings"], json!([]));
    }
    let _theirs = pass(&network.host, "host0");
    let report = check(&network.host, "host0");
    let hint = only(&report["interfaces"][0]["findings"], "error", "occupied");
    assert!(hint.contains("stays attached until its process ends"), "{hint}");
}

/// Checks the dispatcher of xdp-tools. `ip` attaches it, since xdp-loader cannot attach it on every kernel.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn reports_a_dispatcher_and_a_command_that_joins_it() {
    let network = Network::new(Mode::Skb);
    let object = network.host.run("find", "/usr/lib -name xdp-dispatcher.o");
    for (attach, mode) in [("xdpdrv", "native"), ("xdpgeneric", "skb")] {
        ip_link_set(&network.host, &format!("host0 {attach} object {} program xdp_dispatcher", object.trim()));
        let report = check(&network.host, "host0");
        let hint = only(&report["interfaces"][0]["findings"], "error", "occupied");
        assert!(hint.contains(&format!("`xdp-loader load -m {mode} host0 tcp_bounce.bpf.o`")), "{hint}");
        assert!(hint.contains("on every port without a local listener"), "{hint}");
        let reason = refusal(&network.host, "host0");
        assert_error(&reason, &["already attached to host0", "\"xdp_dispatcher\""], hint);
        network.host.ip(&format!("link set dev host0 {attach} off"));
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn reports_a_program_on_an_upper_interface() {
    let network = Network::new(Mode::Skb);
    network.host.ip("link add macvlan0 link host0 type macvlan");
    assert_eq!(check(&network.host, "host0")["interfaces"][0]["findings"], json!([]));
    ip_link_set(&network.host, &format!("macvlan0 xdpgeneric object {BENCH_OBJECT} program pass"));
    let report = check(&network.host, "host0");
    let command = only(&report["interfaces"][0]["findings"], "error", "occupied_above");
    let reason = refusal(&network.host, "host0");
    assert_error(&reason, &["cannot attach to host0", "attached to macvlan0 above it", "\"pass\""], command);
    network.host.ip(command.strip_prefix("ip ").unwrap());
    assert_eq!(check(&network.host, "host0")["starts"], true);
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn warns_of_an_interface_that_is_down_or_has_no_address() {
    let network = Network::new(Mode::Skb);
    network.host.ip("link set host0 down");
    let report = check(&network.host, "host0");
    let command = only(&report["interfaces"][0]["findings"], "warning", "down");
    network.host.ip(command.strip_prefix("ip ").unwrap());
    // `check` compares the interface before and after the check. A late carrier looks like a change of the interface.
    network.wait_for_carrier();
    assert_eq!(check(&network.host, "host0")["interfaces"][0]["findings"], json!([]));

    network.host.ip("address flush dev host0");
    let report = check(&network.host, "host0");
    only(&report["interfaces"][0]["findings"], "warning", "no_address");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn warns_of_a_bridge_port() {
    let network = Network::new(Mode::Skb);
    network.host.ip("link add bridge0 type bridge");
    network.host.ip("link set host0 master bridge0");
    let report = check(&network.host, "host0");
    assert_eq!(report["interfaces"][0]["master"], json!({ "name": "bridge0", "kind": "bridge" }));
    let hint = only(&report["interfaces"][0]["findings"], "warning", "bridge_port");
    assert!(hint.contains("bridge0"), "{hint}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn predicts_the_attach_mode() {
    let network = Network::new(Mode::Skb);
    network.host.ip("tuntap add tap0 mode tap");
    network.host.ip("link add macvlan0 link host0 type macvlan");
    network.host.ip("link add bridge0 type bridge");
    for (arguments, mode) in [
        ("tap0", "native"),
        ("--mode skb tap0", "skb"),
        ("--mode native tap0", "native"),
        ("host0", "skb"),
        ("--mode native host0", "native"),
        ("macvlan0", "skb"),
        ("bridge0", "skb"),
    ] {
        let report = check(&network.host, arguments);
        assert_eq!((&report["starts"], &report["interfaces"][0]["mode"]), (&json!(true), &json!(mode)), "{arguments}");
    }

    for (arguments, code) in [
        ("--mode native macvlan0", "no_native_xdp"),
        ("--mode native bridge0", "no_native_xdp"),
        ("--mode hw host0", "no_offload"),
    ] {
        let report = check(&network.host, arguments);
        let error = &report["interfaces"][0]["findings"][0];
        assert_eq!((&report["starts"], &error["code"]), (&json!(false), &json!(code)), "{arguments}");
    }
}

/// Checks that `--check` and the start message warn if the MTU requires multi-buffer frames, and that native mode does
/// without them where the MTU allows it.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn warns_of_untested_multi_buffer_frames() {
    let network = Network::new(Mode::Native);
    let set_mtu = |mtu| {
        network.host.ip(&format!("link set host0 mtu {mtu}"));
        network.client.ip(&format!("link set client0 mtu {mtu}"));
    };
    let codes = |arguments: &str| {
        let report = check(&network.host, arguments);
        let findings = report["interfaces"][0]["findings"].as_array().unwrap();
        findings.iter().map(|finding| text(&finding["code"]).to_owned()).collect::<Vec<_>>()
    };
    let start = || run(&mut TcpBounce::command(&network.host, "--mode native --duration 1ms host0")).success();
    if has_frags() {
        set_mtu(9000);
        assert_eq!(codes("--mode native host0"), ["native_on_veth", "untested_fragments"]);
        assert_eq!(codes("--mode skb host0"), [] as [&str; 0]);
        let output = start();
        assert!(output.contains("\nwarning: host0: MTU 9000 requires multi-buffer frames, "), "{output}");
        assert!(output.contains("\n  hint: run `ip link set dev host0 mtu 3046`"), "{output}");
    }
    for mtu in [3498, 1500] {
        set_mtu(mtu);
        assert_eq!(codes("--mode native host0"), ["native_on_veth"]);
        let output = start();
        assert!(!output.contains("warning"), "{output}");
        // Without multi-buffer support, the kernel refuses an MTU of the peer that needs it.
        let responder = network.start_responder("");
        let mut raise = network.client.command("ip");
        let raised = run(raise.args(["link", "set", "client0", "mtu", "9000"]));
        assert!(!raised.status.success(), "{mtu} {raised:?}");
        responder.interrupt();
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn start_warns_of_multi_buffer_frames() {
    if !has_frags() {
        return;
    }
    let network = Network::new(Mode::Native);
    network.host.ip("link set host0 mtu 9000");
    network.client.ip("link set client0 mtu 9000");
    let output = run(&mut TcpBounce::command(&network.host, "--mode native --duration 1ms host0")).success();
    assert!(output.contains("\nwarning: host0: MTU 9000 requires multi-buffer frames, "), "{output}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn start_warns_of_gro_below_a_bridge() {
    let network = Network::new(Mode::Skb);
    network.host.ip("link add bridge0 type bridge");
    network.host.ip("link set host0 master bridge0");
    network.host.ip("link set bridge0 up");
    network.host.run("ethtool", "-K host0 gro on");
    let arguments = "--dst any --on-connect discard --duration 1ms bridge0";
    let output = run(&mut TcpBounce::command(&network.host, arguments)).success();
    assert!(output.contains("\nwarning: bridge0: GRO of host0 merges segments, "), "{output}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn warns_if_the_hosts_sockets_are_not_tracked() {
    let network = Network::new(Mode::Skb);
    let mut command = TcpBounce::command(&network.host, "--check --mode skb host0");
    assert_eq!(run(&mut command).success().matches("warning").count(), 0);
    deny(&mut command, RAW_TRACEPOINTS);
    let output = run(&mut command).success();
    assert!(output.contains("each SYN and ACK costs a socket lookup"), "{output}");
}

/// Checks a bridge above a veth end, with and without GRO.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn warns_of_gro_below_a_bridge() {
    let network = Network::new(Mode::Skb);
    network.host.ip(&format!("address delete {HOST}/24 dev host0"));
    network.host.ip("link add bridge0 type bridge");
    network.host.ip("link set host0 master bridge0");
    network.host.ip(&format!("address add {HOST}/24 dev bridge0"));
    network.host.ip("link set bridge0 up");
    // [`check`] would take the timers of a bridge that is up for a change.
    let check = |arguments: &str| {
        let (report, starts) =
            check_with(&mut TcpBounce::command(&network.host, &format!("--check --json {arguments}")));
        assert!(starts, "{report:#}");
        report["interfaces"][0].clone()
    };
    assert_eq!(check("--on-connect discard bridge0")["findings"], json!([]), "veth has GRO off by default");
    let hint = only(&check("--on-connect discard host0")["findings"], "warning", "bridge_port").to_owned();
    assert_eq!(hint, "run tcp-bounce on bridge0 instead");

    network.host.run("ethtool", "-K host0 gro on");
    assert_eq!(check("bridge0")["findings"], json!([]), "`ignore` answers no merged segments");
    let hint = only(&check("--on-connect discard host0")["findings"], "warning", "bridge_port").to_owned();
    assert!(hint.ends_with("; in skb mode, first run `ethtool -K host0 gro off`"), "{hint}");
    let bridge0 = check("--on-connect discard:9 --on-connect close:80 bridge0");
    assert_eq!(bridge0["gro_below"], json!(["host0"]));
    let command = only(&bridge0["findings"], "warning", "gro_below");
    let output = run(&mut TcpBounce::command(&network.host, "--on-connect discard --duration 1ms bridge0")).success();
    assert!(output.contains("\nwarning: bridge0: GRO of host0 merges segments, "), "{output}");
    assert!(output.contains(&format!("\n  hint: run `{command}`")), "{output}");

    network.host.run("ethtool", command.strip_prefix("ethtool ").unwrap());
    assert_eq!(check("--on-connect discard bridge0")["findings"], json!([]));
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn reports_missing_capabilities_and_the_other_facts() {
    let network = Network::new(Mode::Skb);
    for (capabilities, missing) in [
        ("", json!(["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"])),
        (",+bpf,+net_admin", json!(["CAP_PERFMON"])),
        (",+sys_admin", json!(["CAP_NET_ADMIN"])),
    ] {
        let wrapper = format!("setpriv --inh-caps=-all --bounding-set=-all{capabilities} --");
        let report = check_under(&network.host, &wrapper, "host0");
        only(&report["host"]["findings"], "error", "missing_capabilities");
        assert_eq!(report["host"]["missing_capabilities"], missing);
        let host0 = &report["interfaces"][0];
        assert_eq!((&host0["driver"], &host0["loads"]), (&json!("veth"), &json!(null)), "{report:#}");
    }
    let wrapper = "setpriv --inh-caps=-all --bounding-set=-all,+bpf,+net_admin,+perfmon --";
    assert_eq!(check_under(&network.host, wrapper, "host0")["starts"], true);
}

/// Checks root of a user namespace, as in a rootless container. Root's capabilities apply only to that namespace, so
/// the kernel refuses the program.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn reports_a_program_that_does_not_load() {
    let namespace = Namespace::new();
    let script = format!(
        "ip link add host0 type veth peer name client0 && ip link set host0 up && exec {BINARY} --check --json host0"
    );
    let mut command = namespace.command("unshare");
    let (report, _) = check_with(command.args(["--map-root-user", "--net", "sh", "-c", &script]));
    let host0 = &report["interfaces"][0];
    assert_eq!(host0["loads"], false);
    assert_eq!(host0["findings"][0]["code"], "program_refused", "{report:#}");
    assert!(text(&host0["findings"][0]["hint"]).starts_with("run tcp-bounce as root on the host"), "{report:#}");
}

/// Checks addresses that do not fit in the program's address set. The kernel is then not asked to verify the program.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn reports_too_many_addresses() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    let batch = folder.path().join("batch");
    // Only every second address, because adjacent addresses are merged.
    let add = |n: usize| format!("address add 10.0.{}.{}/32 dev host0\n", n / 128, n % 128 * 2);
    fs::write(&batch, (0..=MAX_RANGES).map(add).collect::<String>()).unwrap();
    network.host.ip(&format!("-batch {}", batch.display()));
    let report = check(&network.host, "host0");
    let host0 = &report["interfaces"][0];
    assert!(only(&host0["findings"], "error", "too_many_prefixes").contains("--dst"), "{report:#}");
    assert_eq!(host0["loads"], json!(null));
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn lists_the_connections_that_takeover_would_affect() {
    let network = Network::new(Mode::Skb);
    let listener = network.listen(2222);
    let mut client = network.connect(2222).unwrap();
    let mut host = accept(&listener);
    let command = |arguments: &str| TcpBounce::command(&network.host, &format!("--check --json {arguments} host0"));
    let (report, _) = check_with(&mut command("--takeover"));
    let connection = json!({ "local": format!("{HOST}:2222"), "remote": client.local_addr().unwrap() });
    assert_eq!(report["affected_connections"], json!([connection]));
    assert_eq!(report["excluded"], json!({ "listeners": "", "configured": "" }));
    assert_eq!(check_with(&mut command("--takeover --exclude-ports 2222")).0["affected_connections"], json!([]));
    assert_eq!(check_with(&mut command("")).0["affected_connections"], json!(null));
    exchange(&mut client, &mut host);
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn text_output_shows_the_findings() {
    let network = Network::new(Mode::Skb);
    let run_with = |arguments: &str| run(&mut TcpBounce::command(&network.host, arguments));
    let output = run_with("--check host0").success();
    for words in [
        "host0: would attach in skb mode\n  note: native mode on veth loses replies ",
        "\n  driver      veth\n",
        "\n  state       up, MTU 1500\n",
        "\n  program     accepted by the kernel's verifier\n",
        "\nhost:\n  kernel      ",
        "\nwould answer on all TCP ports\n",
        "\ntcp-bounce would start\n",
    ] {
        assert!(output.contains(words), "{words:?} {output}");
    }
    assert!(output.lines().all(|line| line.len() <= 80), "{output}");
    network.host.ip("link set host0 down");
    let output = run_with("--check host0").success();
    assert!(
        output.contains("\n  warning: the interface is down\n    hint: run `ip link set dev host0 up`\n"),
        "{output}"
    );

    let finished = run_with("--check lo");
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stdout.starts_with("lo: would not attach\n"), "{finished:?}");
    assert!(finished.stdout.contains("\n  error: lo is the loopback interface, and "), "{finished:?}");
    assert!(finished.stdout.ends_with("tcp-bounce would not start\n"), "{finished:?}");
    assert!(!finished.stdout.contains("would answer on"), "{finished:?}");
}

/// Checks that `--quiet` prints only errors, and that it does not affect `--json`.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn quiet_prints_only_errors() {
    let network = Network::new(Mode::Skb);
    let run_with = |arguments: &str| run(&mut TcpBounce::command(&network.host, arguments));
    network.host.ip("link set host0 down");
    assert_eq!(run_with("--check --quiet host0").success(), "", "warnings are not printed");
    let finished = run_with("--check --quiet lo host0");
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stdout.starts_with("error: lo is the loopback interface, and "), "{finished:?}");
    assert!(!finished.stdout.contains("host0"), "{finished:?}");
    // The interface is named, unless the message contains its name.
    let finished = run_with("--check --quiet --mode hw host0");
    assert!(finished.stdout.starts_with("error: host0: the driver does not support hw mode\n"), "{finished:?}");
    let (report, starts) = check_with(&mut TcpBounce::command(&network.host, "--check --json --quiet lo"));
    assert!(!starts);
    only(&report["interfaces"][0]["findings"], "error", "unfit");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn invalid_arguments_are_errors() {
    let network = Network::new(Mode::Skb);
    let [failure, usage_error]: [fn(&_, &_) -> _; 2] = [refusal, usage_error];
    for (arguments, refusal, words) in [
        ("nosuch0", failure, "no interface named \"nosuch0\""),
        ("host0 host0", usage_error, "host0 is named twice"),
        ("--exclude-ports 0-65535 host0", usage_error, "no port left to answer on"),
    ] {
        let reason = refusal(&network.host, &format!("--check {arguments}"));
        assert!(reason.contains(words), "{reason}");
        let reason: Value =
            serde_json::from_str(&refusal(&network.host, &format!("--check --json {arguments}"))).unwrap();
        assert_eq!(reason["type"], "error");
        assert!(reason["message"].as_str().unwrap().contains(words), "{reason}");
    }
}

/// Checks a closed pipe, as in `tcp-bounce --check host0 | head -0`.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn closed_output_is_no_error() {
    let network = Network::new(Mode::Skb);
    for (option, interface, code) in [("--check", "host0", 0), ("--check --json", "host0", 0), ("--check", "lo", 1)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = TcpBounce::command(&network.host, &format!("{option} {interface}"));
        let finished = Process::start_as_is(command.stdout(writer).stderr(Stdio::piped())).finish();
        assert_eq!((finished.status.code(), finished.stderr.as_str()), (Some(code), ""), "{option} {interface}");
    }
}

/// Checks that `--check` fails if its output cannot be written, as on a full disk.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn full_output_is_an_error() {
    let network = Network::new(Mode::Skb);
    for option in ["--check", "--check --json"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = TcpBounce::command(&network.host, &format!("{option} host0"));
        let finished = Process::start_as_is(command.stdout(full).stderr(Stdio::piped())).finish();
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        assert!(finished.stderr.contains("cannot write to standard output: "), "{finished:?}");
    }
}
