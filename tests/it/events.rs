//! Client events, their JSON, and the port report.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Seek as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tcp_bounce::internals::{OutputOptions, ReportFile, run as run_command};
use tcp_bounce::{AttachMode, Config, Observe};
use tcp_bounce_wire::Verdict;

use crate::fixtures::command::{TcpBounce, assert_error, refusal, usage_error};
use crate::fixtures::flood::{Flood, Kind, Sink};
use crate::fixtures::machine::MachineLock;
use crate::fixtures::network::{CLIENT, CLIENT_V6, HOST, HOST_V6, Mode, Network, switched};
use crate::fixtures::process::{Process, in_own_process, run};
use crate::fixtures::programs::pass;
use crate::fixtures::schema::validate;
use crate::fixtures::{accept, exchange, until};

in_each_mode! {
    each_scanned_port_is_an_event,
    json_output_matches_the_schema,
    quiet_run_reports_lost_events,
    report_lists_the_ports_that_a_firewall_passes,
    handshakes_that_complete_with_data_are_counted,
    requests_of_clients_are_reported,
    handshakes_without_room_for_the_banner_are_events,
    closed_output_changes_nothing,
    idle_reader_loses_only_events,
}

/// Interrupts tcp-bounce, and returns the JSON lines that it printed.
fn lines(responder: TcpBounce) -> Vec<Value> {
    responder.0.signal(Signal::SIGINT);
    let stdout = responder.0.finish().success();
    stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Starts tcp-bounce with `--json`, and waits until it answers.
fn start(network: &Network, arguments: &str) -> TcpBounce {
    let mut command = TcpBounce::command(&network.host, &network.arguments(&format!("--json {arguments}")));
    let process = Process::start(&mut command);
    process.wait_for("\"started\"");
    TcpBounce(process)
}

fn each_scanned_port_is_an_event(mode: Mode) {
    let network = Network::new(mode);
    let responder = start(&network, "--events --top-talkers");
    network.client.run("nmap", &format!("-n -Pn -sS -p 1-1000 {HOST}"));
    let lines = lines(responder);
    let syns: Vec<&Value> = lines.iter().filter(|line| line["event"] == "syn").collect();
    let ports: BTreeSet<u64> = syns.iter().map(|line| line["port"].as_u64().unwrap()).collect();
    assert_eq!(ports, (1..=1000).collect());
    assert!(syns.iter().all(|line| line["source"] == CLIENT.to_string() && line["destination"] == HOST.to_string()));
    let summary = lines.last().unwrap();
    assert_eq!(summary["type"], "summary");
    assert_eq!(summary["counters"]["answered"], syns.len());
    assert_eq!(summary["events"]["dropped"], 0, "{summary}");
    assert_eq!(summary["events"]["delivered"], summary["events"]["seen"]);
    assert_eq!((&summary["ports"]["distinct"], &summary["sources"]["distinct"]), (&1000.into(), &1.into()));
    assert_eq!(summary["sources"]["entries"][0]["name"], CLIENT.to_string());
    assert_eq!(summary["sources"]["entries"][0]["syns"], syns.len());
}

fn json_output_matches_the_schema(mode: Mode) {
    let network = Network::new(mode);
    let listener = network.listen_at_client(5000);
    let mut host_end = network.connect_back(5000).unwrap();
    let mut client_end = accept(&listener);
    exchange(&mut host_end, &mut client_end);
    let takeover = lines(start(&network, "--takeover"));
    let folder = tempfile::tempdir().unwrap();
    let outputs =
        format!("--events --top-talkers --metrics-listen 9464 --report {}/arrived.csv", folder.path().display());
    let arguments = format!("{outputs} --on-connect echo:7 --on-connect close --src 192.0.2.0/24");
    let responder = start(&network, &arguments);
    for port in [7, 80] {
        let _closed = network.connect(port).unwrap();
    }
    network.wait_until_counted(Verdict::Closed, 1);
    network.host.ip("address add 192.0.2.77/24 dev host0");
    responder.0.wait_for("\"destinations_changed\"");
    let _listener = network.listen(2222);
    responder.0.wait_for("\"ports_changed\"");
    let delivered = lines(responder);
    network.host.ip("link set host0 down");
    let warning = lines(start(&network, ""));
    let error: Value = serde_json::from_str(&refusal(&network.host, "--json nosuch0")).unwrap();
    assert!(error["message"].as_str().unwrap().contains("nosuch0") && error["hint"].is_string(), "{error}");
    let lines = [takeover, delivered, warning, vec![error]].concat();
    assert_eq!(validate(&lines), Ok(()));
    let types: BTreeSet<&str> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    let all = [
        "affected_connections",
        "destinations_changed",
        "error",
        "event",
        "metrics",
        "ports_changed",
        "report_written",
        "started",
        "summary",
        "warning",
    ];
    assert_eq!(types, BTreeSet::from(all));
    let incomplete = json!({"version": 2, "type": "event"});
    assert!(validate(&[incomplete]).unwrap_err().contains("required property"));
    let unknown = json!({"version": 2, "type": "events_dropped", "events": 1, "more": 1});
    assert!(validate(&[unknown]).unwrap_err().contains("Additional properties"));
}

/// Checks that `--quiet`, which prints no summary, reports lost events on standard error.
fn quiet_run_reports_lost_events(mode: Mode) {
    let network = Network::new(mode);
    let full = File::options().write(true).open("/dev/full").unwrap();
    for json in [true, false] {
        let json_option = if json { "--json" } else { "" };
        let arguments = network.arguments(&format!("--quiet --events {json_option}"));
        let mut command = TcpBounce::command(&network.host, &arguments);
        command.stdin(Stdio::null()).stdout(full.try_clone().unwrap()).stderr(Stdio::piped());
        let process = Process::start_as_is(&mut command);
        network.wait_until_attached();
        let _client = network.connect(80).unwrap();
        network.wait_until_counted(Verdict::Completed, 1);
        process.signal(Signal::SIGINT);
        let finished = process.finish();
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        let (lost, error) = finished.stderr.trim_end().split_once('\n').unwrap();
        assert!(error.contains("cannot write to standard output: No space left on device"), "{error}");
        if json {
            let output: Vec<Value> =
                [lost, error].into_iter().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(output[0], json!({"version": 2, "type": "events_dropped", "events": 2}));
            assert_eq!(validate(&output), Ok(()));
        } else {
            assert_eq!(lost, "warning: 2 events were dropped");
        }
    }
}

/// Checks that the report of a host behind a firewall lists exactly the ports that the firewall passes.
fn report_lists_the_ports_that_a_firewall_passes(mode: Mode) {
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
        responder.interrupt();
        let text = fs::read_to_string(&file).unwrap();
        let ports: BTreeSet<u64> = match ending {
            "json" => {
                let report: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(validate(std::slice::from_ref(&report)), Ok(()));
                assert_eq!(report["events_dropped"], 0);
                let ports = report["ports"].as_array().unwrap();
                assert!(ports.iter().all(|port| port["sources"][0] == CLIENT.to_string()));
                assert!(ports.iter().all(|port| port["first"].as_str() <= port["last"].as_str()));
                ports.iter().map(|port| port["port"].as_u64().unwrap()).collect()
            }
            _ => {
                let mut reader = csv::Reader::from_reader(text.as_bytes());
                let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
                assert!(records.iter().all(|record| record[6] == CLIENT.to_string()), "{text}");
                records.iter().map(|record| record[0].parse().unwrap()).collect()
            }
        };
        assert_eq!(ports, holes);
        // nmap finds the same ports.
        assert_eq!(nmap.matches("/open/tcp").count(), holes.len(), "{nmap}");
    }
}

/// Connects to `port` of the host, with an option that delays the last ACK of the handshake, and sends a byte.
fn connect_with_data(network: &Network, port: u16, option: i32, value: i32) -> TcpStream {
    network.open_with_data(SocketAddr::from((HOST, port)), option, value, b"x")
}

/// Checks clients that send the last ACK of the handshake with their first data, next to clients that send it at once.
fn handshakes_that_complete_with_data_are_counted(mode: Mode) {
    const CLIENTS: usize = 5;
    const AT_ONCE: u16 = 81;
    const DELAYED: u16 = 82;
    const DEFERRED: u16 = 83;
    let network = Network::new(mode);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    for action in ["ignore", "discard", "close", "reset"] {
        let responder = start(&network, &format!("--events --on-connect {action} --report {}", file.display()));
        let at_once = || {
            // With `close` and `reset`, the connection may have ended already.
            let mut stream = network.connect(AT_ONCE).ok()?;
            let _ = stream.write_all(b"x");
            Some(stream)
        };
        let _clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let delayed = connect_with_data(&network, DELAYED, libc::TCP_QUICKACK, 0);
                (at_once(), delayed, connect_with_data(&network, DEFERRED, libc::TCP_DEFER_ACCEPT, 1))
            })
            .collect();
        let completed = || network.counters().completed();
        until("for the handshakes to be counted", || (completed() >= 3 * CLIENTS as u64).then_some(()));
        let lines = lines(responder);
        let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        for port in [AT_ONCE, DELAYED, DEFERRED] {
            let entry = report["ports"].as_array().unwrap().iter().find(|entry| entry["port"] == port).unwrap();
            assert_eq!([&entry["syns"], &entry["completed"]], [CLIENTS, CLIENTS], "{action} {port}: {report}");
            let events = lines.iter().filter(|line| line["event"] == "completed" && line["port"] == port);
            assert_eq!(events.count(), CLIENTS, "{action} {port}: {lines:?}");
        }
    }
}

/// Checks the requests of curl, and bytes that are not text, in the JSON output and in the report.
fn requests_of_clients_are_reported(mode: Mode) {
    // The first 40 of 74 bytes: the request line, the header `Host` and the start of `User-Agent`.
    const REQUEST: &str = "R0VUIC9sb2dpbiBIVFRQLzEuMQ0KSG9zdDogMTkyLjAuMi4xDQpVcw==";
    const OTHER: &str = "AP8iCg==";
    let network = Network::new(mode);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    for arguments in ["--profile linux-server", "--on-connect close"] {
        let responder = start(&network, &format!("{arguments} --events --payload 40 --report {}", file.display()));
        for host in [HOST.to_string(), format!("[{HOST_V6}]")] {
            let options = "--silent --max-time 20 --user-agent scanner --header";
            let mut curl = network.client.command("curl");
            // The action closes the connection, so curl may fail.
            curl.args(options.split(' ')).args(["Host: 192.0.2.1", &format!("http://{host}/login")]);
            curl.stdout(Stdio::null()).status().unwrap();
        }
        let mut stream = network.connect(22).unwrap();
        stream.write_all(b"\x00\xff\"\n").unwrap();
        responder.0.wait_for(OTHER);
        let lines = lines(responder);
        assert_eq!(validate(&lines), Ok(()));
        let events: Vec<&Value> = lines.iter().filter(|line| line["event"] == "data").collect();
        let expected = [
            (CLIENT.to_string(), 80, REQUEST, 74),
            (CLIENT_V6.to_string(), 80, REQUEST, 74),
            (CLIENT.to_string(), 22, OTHER, 4),
        ];
        assert_eq!(events.len(), expected.len(), "{arguments}: {events:?}");
        for (event, (source, port, payload, length)) in events.into_iter().zip(expected) {
            let fields = ["source", "port", "payload", "payload_length"].map(|name| event[name].clone());
            assert_eq!(fields, [json!(source), json!(port), json!(payload), json!(length)], "{arguments}");
        }
        let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(validate(std::slice::from_ref(&report)), Ok(()));
        for (port, payload) in [(22, OTHER), (80, REQUEST)] {
            let entry = report["ports"].as_array().unwrap().iter().find(|entry| entry["port"] == port).unwrap();
            assert_eq!([&entry["payloads"], &entry["more_payloads"]], [&json!([payload]), &json!(false)], "{report}");
        }
    }
}

/// Checks a banner that is too long for the frame of the last ACK on veth. The client repeats its data and then closes.
fn handshakes_without_room_for_the_banner_are_events(mode: Mode) {
    const PORT: u16 = 80;
    let network = Network::new(mode);
    let folder = tempfile::tempdir().unwrap();
    let (profile, report) = (folder.path().join("long.toml"), folder.path().join("report.json"));
    fs::write(&profile, format!("[[service]]\nports = \"{PORT}\"\nbanner = \"{}\"\n", "x".repeat(1208))).unwrap();
    let arguments = format!("--profile {} --events --report {}", profile.display(), report.display());
    let responder = start(&network, &arguments);
    let mut stream = network.connect(PORT).unwrap();
    network.wait_until_counted(Verdict::NoRoomForPayload, 1);
    stream.write_all(b"x").unwrap();
    network.wait_until_counted(Verdict::NoRoomForPayload, 3);
    drop(stream);
    let lines = lines(responder);
    let count = |event: &str| lines.iter().filter(|line| line["event"] == event && line["port"] == PORT).count();
    assert_eq!((count("syn"), count("completed")), (1, 1), "{lines:?}");
    let report: Value = serde_json::from_str(&fs::read_to_string(&report).unwrap()).unwrap();
    let entry = report["ports"].as_array().unwrap().iter().find(|entry| entry["port"] == PORT).unwrap();
    assert_eq!([&entry["syns"], &entry["completed"]], [1, 1], "{report}");
}

fn closed_output_changes_nothing(mode: Mode) {
    let network = Network::new(mode);
    let mut command = TcpBounce::command(&network.host, &network.arguments("--events"));
    let (reader, writer) = io::pipe().unwrap();
    let process = Process::start_as_is(command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()));
    drop(reader);
    network.wait_until_attached();
    for port in 1..=100 {
        network.connect(port).unwrap();
    }
    assert_eq!(network.counters()[Verdict::Answered], 100);
    process.signal(Signal::SIGINT);
    assert!(process.finish().status.success());
}

/// Sends SYNs until the program has answered `count` SYNs in total. `client0` needs a [`Sink`].
fn flood_with_syns(network: &Network, count: u64) {
    let flood = Flood::new(network, Kind::Syn, 80);
    until("for the SYNs to be answered", || {
        let missing = count.saturating_sub(network.counters()[Verdict::Answered]);
        if missing > 0 {
            flood.send(missing as u32);
        }
        (missing == 0).then_some(())
    });
}

/// The number of events per second that no reader may lose.
const EVENTS_PER_SECOND: u32 = 1_000_000;

/// Checks that the events of 50 ms wait for a reader that is delayed.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn delayed_reader_loses_no_event() {
    let _machine = MachineLock::exclusive();
    let network = Network::without_program(Mode::Native);
    let _sink = Sink::new(&network);
    network.receive_redirected();
    let responder = start(&network, "--events");
    responder.0.signal(Signal::SIGSTOP);
    let count = u64::from(EVENTS_PER_SECOND / 20);
    flood_with_syns(&network, count);
    responder.0.signal(Signal::SIGCONT);
    let lines = lines(responder);
    let events = lines.iter().filter(|line| line["type"] == "event").count() as u64;
    assert_eq!(lines.last().unwrap()["events"], json!({"seen": events, "delivered": events, "dropped": 0}));
    assert!(events >= count, "{events}");
}

/// Checks that no event is dropped at [`EVENTS_PER_SECOND`] on one CPU, with each output of events.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn million_events_per_second_are_delivered() {
    let _machine = MachineLock::exclusive();
    let network = Network::without_program(Mode::Native);
    let _sink = Sink::new(&network);
    network.receive_redirected();
    let folder = tempfile::tempdir().unwrap();
    let report = format!("--report {}", folder.path().join("report.json").display());
    for arguments in [&report, "--events", "--events --json"] {
        // The reader needs a CPU, which another process may use. Therefore, one of several attempts has to succeed.
        let mut attempts = (0..20).map(|_| event_totals_of_a_flood(&network, arguments)).inspect(|it| println!("{it}"));
        assert!(attempts.any(|totals| totals.contains(", 0 dropped") || totals.contains("\"dropped\":0}")));
    }
}

/// Sends SYNs for 200 ms at [`EVENTS_PER_SECOND`], and returns the line with the totals that tcp-bounce prints.
fn event_totals_of_a_flood(network: &Network, arguments: &str) -> String {
    // Starting a flood takes a few milliseconds, so the SYNs of 40 ms are sent at once.
    const BURST: Duration = Duration::from_millis(40);
    const BURSTS: u32 = 5;
    let syns = EVENTS_PER_SECOND / 1000 * BURST.as_millis() as u32;
    let mut output = tempfile::tempfile().unwrap();
    let mut command = TcpBounce::command(&network.host, &network.arguments(arguments));
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(Stdio::piped());
    let process = Process::start_as_is(&mut command);
    network.wait_until_attached();
    let flood = Flood::new(network, Kind::Syn, 80);
    let started = Instant::now();
    for burst in 1..=BURSTS {
        flood.send(syns);
        thread::sleep((started + burst * BURST).saturating_duration_since(Instant::now()));
    }
    let answered = network.counters()[Verdict::Answered];
    assert!(answered >= u64::from(syns * BURSTS) / 2, "{answered} SYNs were answered");
    process.signal(Signal::SIGINT);
    process.finish().success();
    output.rewind().unwrap();
    let lines = BufReader::new(output).lines().map(Result::unwrap);
    lines.filter(|line| line.contains("delivered")).last().expect("the summary has event totals")
}

fn idle_reader_loses_only_events(mode: Mode) {
    let network = Network::without_program(mode);
    let _sink = Sink::new(&network);
    network.receive_redirected();
    let mut command = TcpBounce::command(&network.host, &network.arguments("--json --events"));
    let (reader, writer) = io::pipe().unwrap();
    let process = Process::start_as_is(command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::null()));
    drop(command);
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("\"started\""), "{line}");
    // The SYNs cause more events than the pipe, the output buffers and the ring buffer hold together.
    flood_with_syns(&network, 120_000);
    process.signal(Signal::SIGINT);
    let lines: Vec<Value> = reader.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    process.finish().success();
    let delivered = lines.iter().filter(|line| line["type"] == "event").count() as u64;
    let events = &lines.last().unwrap()["events"];
    let [seen, reported, lost] = ["seen", "delivered", "dropped"].map(|name| events[name].as_u64().unwrap());
    assert!(lost > 0, "{events}");
    assert_eq!((reported, delivered + lost), (delivered, seen), "{events}");
}

/// Checks that a slow reader gets only whole lines, and the summary at the end, although events are dropped.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn slow_reader_gets_whole_lines_and_the_summary() {
    let network = Network::without_program(Mode::Skb);
    let _sink = Sink::new(&network);
    network.receive_redirected();
    let mut command = TcpBounce::command(&network.host, "--mode skb --json --events host0");
    let (reader, writer) = io::pipe().unwrap();
    let process = Process::start_as_is(command.stdin(Stdio::null()).stdout(writer));
    drop(command);
    let reader = BufReader::new(reader);
    network.wait_until_attached();
    flood_with_syns(&network, 20_000);
    process.signal(Signal::SIGINT);
    // The delay makes the reader too slow to get all events after the signal.
    let slowly = reader.lines().inspect(|_| thread::sleep(Duration::from_millis(1)));
    let lines: Vec<Value> = slowly.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    process.finish().success();
    let delivered = lines.iter().filter(|line| line["type"] == "event").count();
    let summary = lines.last().unwrap();
    assert_eq!((&summary["type"], &summary["events"]["delivered"]), (&"summary".into(), &delivered.into()));
    assert_ne!(summary["events"]["dropped"], 0, "the reader was too fast: {summary}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn report_is_complete_when_events_cannot_be_written() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = TcpBounce::command(&network.host, "--mode skb --events host0");
    command.arg("--report").arg(&file).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped());
    let process = Process::start_as_is(&mut command);
    network.wait_until_attached();
    network.connect(80).unwrap();
    network.wait_until_counted(Verdict::Completed, 1);
    process.signal(Signal::SIGINT);
    process.finish();
    let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(report["events_dropped"], 0);
    assert_eq!(report["ports"][0]["sources"], json!([CLIENT.to_string()]));
}

/// Checks a run with two errors: the interface is removed, and the report cannot be renamed.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn every_error_is_reported() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let responder = TcpBounce::start(&network.host, &format!("--mode skb --report {} host0", file.display()));
    fs::create_dir(&file).unwrap();
    network.host.ip("link delete host0");
    let output = responder.failure();
    assert!(output.contains("host0 was removed"), "{output}");
    let kept = output
        .split(".tcp-bounce-report-")
        .nth(1)
        .expect("the error names the unfinished report")
        .split(['\n', ' ', ':', '`'])
        .next();
    assert!(folder.path().join(format!(".tcp-bounce-report-{}", kept.unwrap())).is_file(), "{output}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn unwritable_report_prevents_the_start() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(path("folder.json")).unwrap();
    std::os::unix::fs::symlink("elsewhere", path("link.csv")).unwrap();
    for (name, reason) in [
        (path("nosuchfolder/report.json"), "No such file or directory"),
        (path("folder.json"), "not a regular file"),
        (path("link.csv"), "not a regular file"),
    ] {
        let is_regular = !reason.contains("regular");
        let refusal = if is_regular { refusal } else { usage_error };
        let output = refusal(&network.host, &format!("--report {name} host0"));
        assert_error(&output, &[&name, reason], if is_regular { "directory" } else { "another file" });
        assert!(!output.contains(".tcp-bounce-report-"), "{output}");
        let check = run(&mut TcpBounce::command(&network.host, &format!("--check --report {name} host0")));
        assert_eq!(check.status.code(), Some(1));
        assert!(check.stdout.contains(&format!("error: cannot write the report {name}: ")), "{check:?}");
    }
    network.assert_nothing_is_attached();
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "other files are left: {left:?}");
}

/// Checks the states of the ports in the report: answered, left to a local listener, or excluded by the user.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn report_lists_ports_that_are_left_to_the_host() {
    let network = Network::new(Mode::Skb);
    let _listener = network.listen(22);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.csv");
    let responder = network.start_responder(&format!("--top-talkers --exclude-ports 23 --report {}", file.display()));
    network.connect(80).unwrap();
    for _ in 0..2 {
        network.connect(22).unwrap();
    }
    network.assert_refused(23);
    network.wait_until_counted(Verdict::Completed, 1);
    let summary = responder.interrupt();
    assert!(summary.0.ends_with(&format!("report: 3 ports, written to {}\n", file.display())), "{summary:?}");
    let text = fs::read_to_string(&file).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("port,state,syns,completed,first,last,sources,payloads"));
    assert_eq!(lines.next(), Some("22,listener,2,0,,,,"));
    assert_eq!(lines.next(), Some("23,excluded,1,0,,,,"));
    assert!(lines.next().unwrap().starts_with("80,answered,1,1,2"), "{text}");
    // The busiest ports are those that were answered.
    assert!(summary.0.contains("busiest ports (of 1):\n              1 SYN to port 80\n"), "{summary:?}");
}

/// Checks that the report is rewritten during a run, so that SIGKILL loses little. The process is unprivileged then.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn report_is_rewritten_during_the_run() {
    in_own_process(report_is_rewritten_during_the_run, || {
        let network = Network::new(Mode::Skb);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.csv");
        let file: ReportFile = path.to_str().unwrap().parse().unwrap();
        let outputs = OutputOptions {
            quiet: true,
            report: Some(file.every(Duration::from_millis(1))),
            ..OutputOptions::default()
        };
        let observe = Observe { ports: true, events: 1, ..Observe::default() };
        let config = Config { attach_mode: Some(AttachMode::Skb), observe, ..Config::new(["host0"]) };
        thread::scope(|scope| {
            let run = scope.spawn(|| network.host.enter(|| run_command(&config, &outputs)));
            network.wait_until_attached();
            for round in 1..=2 {
                network.connect(80).unwrap();
                let row = format!("\n80,answered,{round},");
                until("for the report", || fs::read_to_string(&path).unwrap_or_default().contains(&row).then_some(()));
            }
            kill(Pid::this(), Signal::SIGINT).unwrap();
            run.join().unwrap().unwrap();
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the report is the only file");
    });
}

/// Checks that the report is written even if its unfinished file was removed, as `systemd-tmpfiles` does in `/tmp`.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn report_is_written_to_a_cleaned_folder() {
    let network = Network::new(Mode::Skb);
    let folder = tempfile::tempdir().unwrap();
    for name in ["report.json", "report.csv"] {
        let file = folder.path().join(name);
        let responder = network.start_responder(&format!("--report {}", file.display()));
        for entry in fs::read_dir(folder.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        network.connect(80).unwrap();
        responder.interrupt();
        let report = fs::read_to_string(&file).unwrap();
        let line = if name == "report.csv" { "\n80,answered,1," } else { "\"port\": 80" };
        assert!(report.contains(line), "{report}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the report is the only file");
    }
}
