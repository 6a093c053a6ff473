//! What a monitoring system reads.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fixtures::command::{TcpBounce, assert_error, refusal};
use crate::fixtures::network::{Mode, Network};
use crate::fixtures::process::{Process, run};
use tcp_bounce_wire::Verdict;

/// What a path has, read from the host itself.
fn get(network: &Network, path: &str) -> String {
    network.host.run("curl", &format!("-s -S -i -m 10 http://127.0.0.1:9464{path}"))
}

/// The values of a metric with these labels.
#[track_caller]
fn value(page: &str, metric: &str) -> u64 {
    let line = page.lines().find_map(|line| line.strip_prefix(metric)).unwrap_or_else(|| panic!("{metric}: {page}"));
    line.trim().parse().unwrap()
}

/// Has promtool check a page: its own parser, and the conventions for names.
fn check(page: &str) {
    let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/bin/promtool");
    let mut promtool = Command::new(if Path::new(fetched).exists() { fetched } else { "promtool" });
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = Process::start_as_is(&mut promtool);
    promtool.child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let finished = promtool.finish();
    assert!(finished.status.success() && finished.stderr.is_empty(), "{finished:?} {page}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn prometheus_reads_every_counter() {
    let network = Network::new(Mode::Skb);
    let responder = network.start_responder("--metrics 9464 --events --then close");
    for port in 1..=5 {
        network.connect(port).unwrap();
    }
    network.wait_until_counted(Verdict::Closed, 5);
    let page = crate::fixtures::until("for what was counted to be told", || {
        let page = get(&network, "/metrics");
        page.contains("verdict=\"closed\"} 5").then_some(page)
    });
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4"), "{head}");
    check(body);
    for verdict in Verdict::ALL {
        assert!(body.contains(&format!("verdict=\"{}\"}}", verdict.name())), "{verdict:?} {body}");
    }
    let packets = |action: &str, verdict: &str| {
        let labels = format!("{{action=\"{action}\",interface=\"host0\",verdict=\"{verdict}\"}}");
        value(body, &format!("tcp_bounce_packets_total{labels}"))
    };
    assert_eq!(packets("tx", "answered"), 5);
    assert_eq!(packets("tx", "closed"), 5);
    assert_eq!(packets("pass", "malformed"), 0);
    assert_eq!(value(body, "tcp_bounce_attached{interface=\"host0\",mode=\"skb\"}"), 1);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(value(body, &format!("tcp_bounce_build_info{{version=\"{version}\"}}")), 1);
    assert!(value(body, "tcp_bounce_events_total{interface=\"host0\",result=\"told\"}") >= 10, "{body}");
    assert_eq!(value(body, "tcp_bounce_events_total{interface=\"host0\",result=\"lost\"}"), 0);

    let dashboard = include_str!("../../packaging/grafana-dashboard.json");
    let _: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let asked_for = dashboard.split("tcp_bounce_").skip(1).map(|rest| {
        let end = rest.find(|byte: char| !byte.is_ascii_lowercase() && byte != '_').unwrap();
        format!("# TYPE tcp_bounce_{} ", &rest[..end])
    });
    asked_for
        .for_each(|metric| assert!(body.contains(&metric), "{metric} is on the dashboard, and not served: {body}"));

    assert!(get(&network, "/").starts_with("HTTP/1.1 404"));
    // Prometheus asks so where a job has parameters.
    assert!(get(&network, "/metrics?job=all").starts_with("HTTP/1.1 200"));
    // From elsewhere it is not to be had, and the port answers like any other.
    drop(network.connect(9464).unwrap());
    responder.interrupt();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn who_asks_badly_stalls_nothing() {
    let network = Network::new(Mode::Skb);
    let responder = network.start_responder("--metrics [::1]:9464");
    let ask = |request: &[u8]| {
        let mut stream = network.host.enter(|| TcpStream::connect("[::1]:9464")).unwrap();
        // It may have been cut off already.
        let _ = stream.write_all(request);
        stream
    };
    let mut asking = Vec::new();
    for _ in 0..5 {
        asking.extend([
            // Nothing; half a request; a body that does not come, or that nobody has room for; too much, and more at once.
            ask(b""),
            ask(b"GET /metr"),
            ask(b"POST /metrics HTTP/1.1\r\nContent-Length: 5000\r\n\r\n"),
            ask(b"GET /metrics HTTP/1.1\r\nContent-Length: 4611686018427387904\r\n\r\n"),
            ask(&[b'x'; 100_000]),
            ask(&b"GET /metrics HTTP/1.1\r\n\r\n".repeat(10_000)),
        ]);
    }
    let page = network.host.run("curl", "-s -S -m 30 http://[::1]:9464/metrics");
    assert!(page.contains("tcp_bounce_attached"), "{page}");
    network.connect(80).unwrap();
    assert_eq!(responder.interrupt().count("SYNs answered"), 1);
    drop(asking);
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn an_address_that_cannot_be_had_keeps_it_from_starting() {
    let network = Network::new(Mode::Skb);
    let reason = refusal(&network.host, "--metrics 203.0.113.1:9464 host0");
    assert_error(&reason, &["203.0.113.1:9464", "Cannot assign requested address"], "address of this host");
    network.assert_nothing_is_attached();
    let finished = run(&mut TcpBounce::command(&network.host, "--metrics nonsense host0"));
    assert_eq!(finished.status.code(), Some(2));
    assert!(finished.stderr.contains("not an address and a port"), "{finished:?}");
}
