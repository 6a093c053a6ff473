//! The metrics page, as Prometheus and other clients request it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use tcp_bounce_wire::Verdict;

use crate::fixtures::command::{TcpBounce, assert_error, refusal};
use crate::fixtures::network::{Mode, Network};
use crate::fixtures::process::{Process, run};
use crate::fixtures::seccomp::{Denied, deny};
use crate::fixtures::{DEADLINE, until};

/// Requests a path in the host's namespace, and returns the response including its headers.
fn get(network: &Network, path: &str) -> String {
    network.host.run("curl", &format!("-s -S -i -m 10 http://127.0.0.1:9464{path}"))
}

/// Returns the value of `metric`, a name with its labels.
#[track_caller]
fn value(page: &str, metric: &str) -> u64 {
    let line = page.lines().find_map(|line| line.strip_prefix(metric)).unwrap_or_else(|| panic!("{metric}: {page}"));
    line.trim().parse().unwrap()
}

/// Checks a page with promtool: its syntax, and the naming conventions for metrics.
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
fn promtool_accepts_the_page_with_every_counter() {
    let network = Network::new(Mode::Skb);
    let responder = network.start_responder("--metrics-listen 9464 --events --on-connect close");
    responder.0.wait_for("\nmetrics: http://127.0.0.1:9464/metrics\n");
    for port in 1..=5 {
        network.connect(port).unwrap();
    }
    network.wait_until_counted(Verdict::Closed, 5);
    let page = until("for the metrics to follow", || {
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
    assert!(value(body, "tcp_bounce_events_total{interface=\"host0\",result=\"delivered\"}") >= 10, "{body}");
    assert_eq!(value(body, "tcp_bounce_events_total{interface=\"host0\",result=\"dropped\"}"), 0);

    let dashboard = include_str!("../../packaging/grafana-dashboard.json");
    let _: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let shown = dashboard.split("tcp_bounce_").skip(1).map(|rest| {
        let end = rest.find(|byte: char| !byte.is_ascii_lowercase() && byte != '_').unwrap();
        format!("# TYPE tcp_bounce_{} ", &rest[..end])
    });
    shown.for_each(|metric| {
        assert!(body.contains(&metric), "the dashboard shows {metric}, which is not served: {body}")
    });

    assert!(get(&network, "/").starts_with("HTTP/1.1 404"));
    // Prometheus sends a query string for jobs with `params`.
    assert!(get(&network, "/metrics?job=all").starts_with("HTTP/1.1 200"));
    // The server listens only on loopback, so the program answers clients on this port as on any other.
    drop(network.connect(9464).unwrap());
    responder.interrupt();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn malformed_requests_stall_nothing() {
    let network = Network::new(Mode::Skb);
    let responder = network.start_responder("--metrics-listen [::1]:9464");
    let ask = |request: &[u8]| {
        let mut stream = network.host.enter(|| TcpStream::connect("[::1]:9464")).unwrap();
        // The server may have closed the connection already.
        let _ = stream.write_all(request);
        stream
    };
    let mut asking = Vec::new();
    for _ in 0..5 {
        asking.extend([
            // An empty request, half a request, a missing body, an impossible length, a head that is too long, and too
            // many requests at once.
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
fn unavailable_address_prevents_the_start() {
    let network = Network::new(Mode::Skb);
    let reason = refusal(&network.host, "--metrics-listen 203.0.113.1:9464 host0");
    assert_error(&reason, &["203.0.113.1:9464", "Cannot assign requested address"], "`ip address`");
    network.assert_nothing_is_attached();
    let finished = run(&mut TcpBounce::command(&network.host, "--metrics-listen nonsense host0"));
    assert_eq!(finished.status.code(), Some(2));
    assert!(finished.stderr.contains("not ADDR:PORT, :PORT or PORT"), "{finished:?}");
}

/// Checks that `:9464` serves both families, and that `9464` serves only 127.0.0.1.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn port_with_a_colon_listens_on_every_address() {
    let network = Network::new(Mode::Skb);
    let status = |url: &str| {
        let arguments = format!("-s -o /dev/null -m 10 -w %{{http_code}} {url}/metrics");
        run(network.host.command("curl").args(arguments.split(' '))).stdout
    };
    let urls = ["http://127.0.0.1:9464", "http://192.0.2.1:9464", "http://[::1]:9464", "http://[2001:db8::1]:9464"];
    for only_v6 in ["0", "1"] {
        network.host.sysctl("ipv6/bindv6only", only_v6);
        for (address, statuses) in [(":9464", ["200"; 4]), ("9464", ["200", "000", "000", "000"])] {
            let responder = network.start_responder(&format!("--metrics-listen {address}"));
            assert_eq!(urls.map(status), statuses, "{address} bindv6only={only_v6}");
            responder.interrupt();
        }
    }
}

/// Checks a host without IPv6, as with the kernel's boot parameter `ipv6.disable=1`.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn port_with_a_colon_needs_no_ipv6() {
    let network = Network::new(Mode::Skb);
    let no_ipv6 =
        Denied { call: libc::SYS_socket, first_argument: Some(libc::AF_INET6 as u32), errno: Errno::EAFNOSUPPORT };
    let command = |arguments: &str| {
        let mut command = TcpBounce::command(&network.host, &format!("--mode skb {arguments} host0"));
        deny(&mut command, no_ipv6);
        command
    };
    let responder = Process::start(&mut command("--metrics-listen :9464"));
    responder.wait_for("\nmetrics: http://0.0.0.0:9464/metrics\n");
    network.host.run("curl", "-s -S -f -m 10 http://192.0.2.1:9464/metrics");
    TcpBounce(responder).interrupt();

    let refused = run(&mut command("--metrics-listen [::1]:9464"));
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.contains("Address family not supported"), "{refused:?}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn answers_scrapes_among_hundreds_of_idle_connections() {
    let network = Network::new(Mode::Skb);
    let responder = network.start_responder("--metrics-listen 9464");
    let connect = || network.host.enter(|| TcpStream::connect("127.0.0.1:9464")).unwrap();
    let mut open = Vec::new();
    for connection in 0..400 {
        let mut stream = connect();
        if connection % 2 == 1 {
            // The server may have closed the connection to make room.
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ");
        }
        open.push(stream);
    }
    let page = get(&network, "/metrics");
    assert!(page.starts_with("HTTP/1.1 200 OK"), "{page}");
    assert_eq!(value(&page, "tcp_bounce_attached{interface=\"host0\",mode=\"skb\"}"), 1);
    drop(open);
    responder.interrupt();
}

/// Sends `request` from the host and returns the whole response.
#[track_caller]
fn exchange(network: &Network, request: &[u8]) -> String {
    let mut stream = network.host.enter(|| TcpStream::connect("127.0.0.1:9464")).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

/// Removes the header `name` from the head of a response. Returns the other lines, and the value of the header.
#[track_caller]
fn take_header(head: &str, name: &str) -> (String, String) {
    let (found, rest): (Vec<&str>, Vec<&str>) = head.lines().partition(|line| line.starts_with(&format!("{name}: ")));
    let [line] = found[..] else { panic!("{name}: {head}") };
    (rest.join("\n"), line[name.len() + 2..].to_owned())
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn answers_head_with_the_headers_of_get() {
    let network = Network::new(Mode::Skb);
    let responder = network.start_responder("--metrics-listen 9464");
    for path in ["/metrics", "/"] {
        let request = |method: &str| format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let get = exchange(&network, request("GET").as_bytes());
        let (get_head, body) = get.split_once("\r\n\r\n").unwrap();
        let head = exchange(&network, request("HEAD").as_bytes());
        let head = head.strip_suffix("\r\n\r\n").expect("a response to HEAD has no body");
        // The counters, and with them the length, may change between the requests.
        let (get_head, length) = take_header(get_head, "Content-Length");
        assert_eq!(length, body.len().to_string());
        assert_eq!(take_header(head, "Content-Length").0, get_head);
    }
    responder.interrupt();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn names_the_allowed_methods_to_others() {
    let network = Network::new(Mode::Skb);
    let responder = network.start_responder("--metrics-listen 9464");
    // The server answers before it has read the body. The client must still get the answer.
    let body = "x".repeat(100_000);
    let request = format!("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{body}");
    for request in [&request, "DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let response = exchange(&network, request.as_bytes());
        assert!(response.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{response}");
        assert_eq!(take_header(response.split_once("\r\n\r\n").unwrap().0, "Allow").1, "GET, HEAD");
    }
    responder.interrupt();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn names_the_fault_of_a_request() {
    let network = Network::new(Mode::Skb);
    let responder = network.start_responder("--metrics-listen 9464");
    let long = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1_000));
    for (request, status) in [
        ("GET /metrics\r\n\r\n", "400 Bad Request"),
        ("\0\r\n\r\n", "400 Bad Request"),
        (&long, "431 Request Header Fields Too Large"),
        (&many, "431 Request Header Fields Too Large"),
    ] {
        let response = exchange(&network, request.as_bytes());
        assert!(response.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}: {response}");
    }
    responder.interrupt();
}
