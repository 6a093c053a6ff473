//! What tcp-bounce tells of its clients: events, JSON, and the report.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::fixtures::command::{TcpBounce, assert_error, refusal};
use crate::fixtures::network::{CLIENT, HOST, Mode, Network, switched};
use crate::fixtures::process::{Process, run};
use crate::fixtures::programs::pass;
use crate::fixtures::schema::validate;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tcp_bounce_wire::Verdict;

in_each_mode! {
    each_port_that_nmap_scans_is_an_event,
    what_is_said_is_json_of_the_schema,
    events_that_are_lost_are_told_also_by_a_quiet_one,
    the_report_has_the_ports_that_a_firewall_lets_through,
    a_reader_that_leaves_changes_nothing,
    a_reader_that_does_not_read_loses_events_and_nothing_else,
}

/// The lines of JSON that one printed that has ended well.
fn lines(responder: TcpBounce) -> Vec<Value> {
    responder.0.signal(Signal::SIGINT);
    let stdout = responder.0.finish().success();
    stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Starts it with JSON, and waits until it answers.
fn start(network: &Network, arguments: &str) -> TcpBounce {
    let mut command = TcpBounce::command(&network.host, &network.arguments(&format!("--json {arguments}")));
    let process = Process::start(&mut command);
    process.wait_for("\"started\"");
    TcpBounce(process)
}

fn each_port_that_nmap_scans_is_an_event(mode: Mode) {
    let network = Network::new(mode);
    let responder = start(&network, "--events --top");
    network.client.run("nmap", &format!("-n -Pn -sS -p 1-1000 {HOST}"));
    let lines = lines(responder);
    let syns: Vec<&Value> = lines.iter().filter(|line| line["event"] == "syn").collect();
    let ports: BTreeSet<u64> = syns.iter().map(|line| line["port"].as_u64().unwrap()).collect();
    assert_eq!(ports, (1..=1000).collect());
    assert!(syns.iter().all(|line| line["source"] == CLIENT.to_string() && line["destination"] == HOST.to_string()));
    let summary = lines.last().unwrap();
    assert_eq!(summary["type"], "summary");
    assert_eq!(summary["counters"]["answered"], syns.len());
    assert_eq!(summary["events"]["lost"], 0, "{summary}");
    assert_eq!(summary["events"]["told"], summary["events"]["seen"]);
    assert_eq!((&summary["ports"]["distinct"], &summary["sources"]["distinct"]), (&1000.into(), &1.into()));
    assert_eq!(summary["sources"]["most"][0]["name"], CLIENT.to_string());
    assert_eq!(summary["sources"]["most"][0]["syns"], syns.len());
}

fn what_is_said_is_json_of_the_schema(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen_at_client(5000);
    let mut host_end = network.connect_back(5000).unwrap();
    let mut client_end = crate::fixtures::accept(&listener);
    crate::fixtures::exchange(&mut host_end, &mut client_end);
    let cutting = lines(start(&network, "--takeover"));
    let responder = start(&network, "--events --top --then echo:7 --then close --from 192.0.2.0/24");
    for port in [7, 80] {
        let _closed = network.connect(port).unwrap();
    }
    network.wait_until_counted(Verdict::Closed, 1);
    network.host.ip("address add 192.0.2.77/24 dev host0");
    responder.0.wait_for("\"destinations\"");
    let _listener = network.listen(2222);
    responder.0.wait_for("\"answering\"");
    let told = lines(responder);
    network.host.ip("link set host0 down");
    let warning = lines(start(&network, ""));
    let error: Value = serde_json::from_str(&refusal(&network.host, "--json nosuch0")).unwrap();
    assert!(error["message"].as_str().unwrap().contains("nosuch0") && error["hint"].is_string(), "{error}");
    let lines = [cutting, told, warning, vec![error]].concat();
    assert_eq!(validate(&lines), Ok(()));
    let types: BTreeSet<&str> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    let all = ["answering", "cut", "destinations", "error", "event", "started", "summary", "warning"];
    assert_eq!(types, BTreeSet::from(all));
    let incomplete = json!({"version": 1, "type": "event"});
    assert!(validate(&[incomplete]).unwrap_err().contains("required property"));
    let unknown = json!({"version": 1, "type": "lost", "events": 1, "more": 1});
    assert!(validate(&[unknown]).unwrap_err().contains("Additional properties"));
}

/// Then there is no summary to tell of them.
fn events_that_are_lost_are_told_also_by_a_quiet_one(mode: Mode) {
    let network = Network::new(mode);
    let full = File::options().write(true).open("/dev/full").unwrap();
    for json in [true, false] {
        let json_option = if json { "--json" } else { "" };
        let arguments = network.arguments(&format!("--quiet --events {json_option}"));
        let mut command = TcpBounce::command(&network.host, &arguments);
        command.stdin(Stdio::null()).stdout(full.try_clone().unwrap()).stderr(Stdio::piped());
        let process = Process::start_as_is(&mut command);
        crate::fixtures::until("for the program to be attached", || {
            crate::fixtures::programs::attached(&network.host, "host0")
        });
        let _client = network.connect(80).unwrap();
        network.wait_until_counted(Verdict::Completed, 1);
        process.signal(Signal::SIGINT);
        let finished = process.finish();
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        let (lost, error) = finished.stderr.trim_end().split_once('\n').unwrap();
        assert!(error.contains("cannot write to standard output: No space left on device"), "{error}");
        if json {
            let said: Vec<Value> = [lost, error].into_iter().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(said[0], json!({"version": 1, "type": "lost", "events": 2}));
            assert_eq!(validate(&said), Ok(()));
        } else {
            assert_eq!(lost, "tcp-bounce: 2 events were lost");
        }
    }
}

/// A firewall lets some ports through: on the far side the report says which.
fn the_report_has_the_ports_that_a_firewall_lets_through(mode: Mode) {
    let holes: BTreeSet<u64> = (0..20).map(|hole| 21 + hole * hole * 163).collect();
    let set = holes.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let [firewall, host, client] = switched();
    let _pass = (mode == Mode::Native).then(|| pass(&firewall, "port0"));
    firewall.run("nft", "add table bridge firewall");
    firewall.run("nft", "add chain bridge firewall forward { type filter hook forward priority 0 ; }");
    let rule = format!("ether saddr != 00:00:00:00:00:00 iifname port1 tcp dport != {{{set}}} drop");
    firewall.run("nft", &format!("add rule bridge firewall forward {rule}"));
    let folder = tempfile::tempdir().unwrap();
    for ending in ["json", "csv"] {
        let file = folder.path().join(format!("report.{ending}"));
        let arguments = format!("--mode {} --report {} host0", mode.name(), file.display());
        let responder = TcpBounce::start(&host, &arguments);
        let nmap = client.run("nmap", &format!("-n -Pn -sS -p- -T5 --min-rate 20000 --max-retries 2 -oG - {HOST}"));
        assert!(!file.exists(), "it is written at the end");
        responder.interrupt();
        let text = fs::read_to_string(&file).unwrap();
        let ports: BTreeSet<u64> = match ending {
            "json" => {
                let report: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(validate(std::slice::from_ref(&report)), Ok(()));
                assert_eq!(report["events_lost"], 0);
                let ports = report["ports"].as_array().unwrap();
                assert!(ports.iter().all(|port| port["sources"][0] == CLIENT.to_string()));
                assert!(ports.iter().all(|port| port["first"].as_str() <= port["last"].as_str()));
                ports.iter().map(|port| port["port"].as_u64().unwrap()).collect()
            }
            _ => {
                let mut reader = csv::Reader::from_reader(text.as_bytes());
                let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
                assert!(records.iter().all(|record| record[5] == CLIENT.to_string()), "{text}");
                records.iter().map(|record| record[0].parse().unwrap()).collect()
            }
        };
        assert_eq!(ports, holes);
        // nmap sees them, too.
        assert_eq!(nmap.matches("/open/tcp").count(), holes.len(), "{nmap}");
    }
}

fn a_reader_that_leaves_changes_nothing(mode: Mode) {
    let network = Network::new(mode);
    let mut command = TcpBounce::command(&network.host, &network.arguments("--events"));
    let (reader, writer) = io::pipe().unwrap();
    let process = Process::start_as_is(command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()));
    drop(reader);
    crate::fixtures::until("for the program to be attached", || {
        crate::fixtures::programs::attached(&network.host, "host0")
    });
    for port in 1..=100 {
        network.connect(port).unwrap();
    }
    assert_eq!(network.counters()[Verdict::Answered], 100);
    process.signal(Signal::SIGINT);
    assert!(process.finish().status.success());
}

fn a_reader_that_does_not_read_loses_events_and_nothing_else(mode: Mode) {
    let network = Network::new(mode);
    let mut command = TcpBounce::command(&network.host, &network.arguments("--json --events"));
    let (reader, writer) = io::pipe().unwrap();
    let process = Process::start_as_is(command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::null()));
    drop(command);
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("\"started\""), "{line}");
    // More than there is room for: in the pipe, on the way to it, and in the kernel.
    let ports = 40_000;
    network.client.run("nmap", &format!("-n -Pn -sS -p 1-{ports} -T5 --min-rate 20000 --max-retries 3 {HOST}"));
    assert!(network.counters()[Verdict::Answered] >= ports);
    process.signal(Signal::SIGINT);
    let lines: Vec<Value> = reader.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    process.finish().success();
    let told = lines.iter().filter(|line| line["type"] == "event").count() as u64;
    let events = &lines.last().unwrap()["events"];
    let [seen, said, lost] = ["seen", "told", "lost"].map(|name| events[name].as_u64().unwrap());
    assert!(lost > 0, "{events}");
    assert_eq!((said, told + lost), (told, seen), "{events}");
}

/// It may take long to print all of them: then some are left out, but the last words are not, and no line is torn.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_slow_reader_gets_whole_lines_and_the_summary() {
    let network = Network::new(Mode::Skb);
    let mut command = TcpBounce::command(&network.host, "--mode skb --json --events host0");
    let (reader, writer) = io::pipe().unwrap();
    let process = Process::start_as_is(command.stdin(Stdio::null()).stdout(writer));
    drop(command);
    let reader = BufReader::new(reader);
    crate::fixtures::until("for the program to be attached", || {
        crate::fixtures::programs::attached(&network.host, "host0")
    });
    let ports = 20_000;
    network.client.run("nmap", &format!("-n -Pn -sS -p 1-{ports} -T5 --min-rate 20000 --max-retries 3 {HOST}"));
    process.signal(Signal::SIGINT);
    // Slow is what the test is about.
    let slowly = reader.lines().inspect(|_| thread::sleep(Duration::from_millis(1)));
    let lines: Vec<Value> = slowly.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    process.finish().success();
    let told = lines.iter().filter(|line| line["type"] == "event").count();
    let summary = lines.last().unwrap();
    assert_eq!((&summary["type"], &summary["events"]["told"]), (&"summary".into(), &told.into()));
    assert_ne!(summary["events"]["lost"], 0, "it was slow enough: {summary}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_report_is_complete_also_if_nobody_reads_the_events() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = TcpBounce::command(&network.host, "--mode skb --events host0");
    command.arg("--report").arg(&file).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped());
    let process = Process::start_as_is(&mut command);
    crate::fixtures::until("for the program to be attached", || {
        crate::fixtures::programs::attached(&network.host, "host0")
    });
    network.connect(80).unwrap();
    network.wait_until_counted(Verdict::Completed, 1);
    process.signal(Signal::SIGINT);
    process.finish();
    let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(report["events_lost"], 0);
    assert_eq!(report["ports"][0]["sources"], json!([CLIENT.to_string()]));
}

/// The report could not have its name, and the interface is gone: both must be known.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn all_that_went_wrong_is_told() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let responder = TcpBounce::start(&network.host, &format!("--mode skb --report {} host0", file.display()));
    fs::create_dir(&file).unwrap();
    network.host.ip("link delete host0");
    let said = responder.failure();
    assert!(said.contains("host0 was removed"), "{said}");
    let kept =
        said.split(".tcp-bounce-report-").nth(1).expect("where the report is").split(['\n', ' ', ':', '`']).next();
    assert!(folder.path().join(format!(".tcp-bounce-report-{}", kept.unwrap())).is_file(), "{said}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_report_that_cannot_be_written_keeps_it_from_starting() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(path("folder.json")).unwrap();
    std::os::unix::fs::symlink("elsewhere", path("link.csv")).unwrap();
    for (name, reason) in [
        (path("nosuchfolder/report.json"), "No such file or directory"),
        (path("folder.json"), "no regular file"),
        (path("link.csv"), "no regular file"),
    ] {
        let said = refusal(&network.host, &format!("--report {name} host0"));
        assert_error(&said, &[&name, reason], if reason.contains("regular") { "another file" } else { "folder" });
        assert!(!said.contains(".tcp-bounce-report-"), "{said}");
        let check = run(&mut TcpBounce::command(&network.host, &format!("--check --report {name} host0")));
        assert_eq!(check.status.code(), Some(1));
        assert!(check.stdout.contains(&format!("problem: cannot write the report {name}: ")), "{check:?}");
    }
    network.assert_nothing_is_attached();
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "nothing else is left there: {left:?}");
}
