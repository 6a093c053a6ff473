//! Clients of the services of a profile.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;

use tcp_bounce_wire::Verdict;
use tempfile::NamedTempFile;

use crate::fixtures::network::{HOST, HOSTS, Mode, Network};
use crate::fixtures::nmap::open_ports;
use crate::fixtures::process::Process;
use crate::fixtures::{DEADLINE, until};
use crate::profiles::file::profile;

in_each_mode! {
    curl_gets_the_page,
    only_the_root_page_exists,
    netcat_reads_the_banner_and_ends,
    netcat_sends_a_request_and_ends,
    a_client_that_reads_the_banner_and_closes_ends_at_once,
    closed_ports_are_reset,
    each_ending_ends_connections,
    long_payloads_arrive_whole,
    a_key_selects_the_random_ports,
}

fn curl_gets_the_page(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile linux-server");
    for url in ["http://192.0.2.1/", "http://[2001:db8::1]/"] {
        let page = network.client.run("curl", &format!("--silent --show-error --include --max-time 20 {url}"));
        assert!(page.starts_with("HTTP/1.1 200 OK\r\nServer: nginx/"), "{page}");
        assert!(page.ends_with("</html>\n"), "{page}");
    }
}

fn only_the_root_page_exists(mode: Mode) {
    let network = Network::new(mode);
    for profile in ["linux-server", "mail-server", "windows-server", "all-ports"] {
        let responder = network.start_responder(&format!("--profile {profile}"));
        for host in ["192.0.2.1", "[2001:db8::1]"] {
            let status = |arguments: &str| {
                let format = "--silent --show-error --output /dev/null --write-out %{response_code} --max-time 20";
                network.client.run("curl", &format!("{format} {arguments}"))
            };
            for (path, get, head) in [("/", "200", "200"), ("/admin", "404", "400")] {
                assert_eq!(status(&format!("http://{host}{path}")), get, "{profile} {path}");
                assert_eq!(status(&format!("--head http://{host}{path}")), head, "{profile} {path}");
            }
        }
        responder.interrupt();
    }
}

fn netcat_reads_the_banner_and_ends(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile linux-server");
    for host in HOSTS {
        // With -N, nc closes its direction at once, because it has no input.
        for (port, start) in [(21, "220 "), (22, "SSH-2.0-"), (25, "220 "), (110, "+OK "), (143, "* OK ")] {
            let banner = network.client.run("nc.openbsd", &format!("-N {host} {port}"));
            assert!(banner.starts_with(start) && banner.ends_with("\r\n"), "{host} {port}: {banner:?}");
        }
    }
}

fn netcat_sends_a_request_and_ends(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile database");
    for host in HOSTS {
        let exchange = |request: &str| {
            let mut command = network.client.command("nc.openbsd");
            command.args(["-N", &host.to_string(), "11211"]);
            let mut netcat =
                Process::start_as_is(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()));
            netcat.child.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
            netcat.finish().success()
        };
        assert_eq!(exchange("version\r\n"), "VERSION 1.6.18\r\n", "{host}");
        let statistics = exchange("stats\r\n");
        let mut lines = statistics.strip_suffix("\r\nEND\r\n").expect("an end").lines();
        assert!(lines.all(|line| line.starts_with("STAT ")), "{statistics:?}");
    }
}

fn a_client_that_reads_the_banner_and_closes_ends_at_once(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile linux-server");
    for address in HOSTS {
        let mut stream = network.open(address, 22);
        stream.read_exact(&mut [0; 40]).unwrap();
        drop(stream);
    }
    // A client in TIME_WAIT has the acknowledgment of its FIN.
    until("for both clients in TIME_WAIT", || {
        let sockets = network.client.run("ss", "--no-header --tcp --all --numeric state time-wait");
        (sockets.lines().count() == 2).then_some(())
    });
}

fn closed_ports_are_reset(mode: Mode) {
    let network = Network::new(mode);
    let responder = network.start_responder("--profile linux-server --exclude-ports 25");
    for address in HOSTS {
        for port in [1, 23, 25, 443, 65535] {
            let connect = || TcpStream::connect_timeout(&SocketAddr::new(address, port), DEADLINE);
            let error = network.client.enter(connect).err().map(|error| error.kind());
            assert_eq!(error, Some(ErrorKind::ConnectionRefused), "{port}");
        }
    }
    assert_eq!(responder.interrupt().count("passed: to a port that is not answered"), 10);
}

fn each_ending_ends_connections(mode: Mode) {
    let file = profile(
        r#"
        [[service]]
        ports = "13"
        banner = "noon\r\n"
        end = "close"
        [[service]]
        ports = "14"
        replies = [{ prefix = "time", send = "noon\r\n" }]
        end = "close"
        [[service]]
        ports = "15"
        replies = [{ send = "noon\r\n" }]
        end = "reset"
        "#,
    );
    let network = Network::new(mode);
    let _responder = network.start_responder(&format!("--profile {}", file.path().display()));
    for address in HOSTS {
        let mut received = Vec::new();
        network.open(address, 13).read_to_end(&mut received).unwrap();
        assert_eq!(received, b"noon\r\n");

        let mut stream = network.open(address, 14);
        stream.write_all(b"nothing").unwrap();
        stream.write_all(b"TIME\r\n").unwrap();
        received.clear();
        stream.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"noon\r\n");

        let mut stream = network.open(address, 15);
        stream.write_all(b"time\r\n").unwrap();
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"noon\r\n");
        let ended = stream.read(&mut answer).map_err(|error| error.kind());
        assert_eq!(ended, Err(ErrorKind::ConnectionReset));
    }
}

fn long_payloads_arrive_whole(mode: Mode) {
    // 190 bytes fit into the headroom of every driver. The request leaves room for the long reply.
    let (banner, reply) = ("b".repeat(190), "r".repeat(1208));
    let file = profile(&format!(
        "[[service]]\nports = \"1000-1009\"\nbanner = \"{banner}\"\nreplies = [{{ send = \"{reply}\" }}]\nend = \"close\"\n"
    ));
    let network = Network::new(mode);
    let _responder = network.start_responder(&format!("--profile {}", file.path().display()));
    for address in HOSTS {
        for port in 1000..1010 {
            let mut stream = network.open(address, port);
            let mut received = vec![0; banner.len()];
            stream.read_exact(&mut received).unwrap();
            assert_eq!(received, banner.as_bytes());
            stream.write_all(&vec![b'q'; 1100]).unwrap();
            received.clear();
            stream.read_to_end(&mut received).unwrap();
            assert_eq!(received, reply.as_bytes());
        }
    }
    let counters = network.counters();
    assert_eq!(counters[Verdict::NoRoomForPayload], 0);
    assert!(counters[Verdict::Greeted] >= 20, "{}", counters[Verdict::Greeted]);
}

fn a_key_selects_the_random_ports(mode: Mode) {
    let file = profile("[[service]]\nports = \"random:5\"\nbanner = \"port {port}\\n\"\nend = \"close\"\n");
    let key = NamedTempFile::new().unwrap();
    let network = Network::new(mode);
    let mut scans = Vec::new();
    for digits in ["11", "11", "22"] {
        fs::write(&key, digits.repeat(16)).unwrap();
        let arguments = format!("--profile {} --key-file {}", file.path().display(), key.path().display());
        let responder = network.start_responder(&arguments);
        let (ports, _) = open_ports(&network, HOST.into());
        assert_eq!(ports.len(), 5, "{ports:?}");
        for &port in &ports {
            let mut banner = String::new();
            network.open(HOST.into(), port).read_to_string(&mut banner).unwrap();
            assert_eq!(banner, format!("port {port}\n"));
        }
        scans.push(ports);
        responder.interrupt();
    }
    assert_eq!(scans[0], scans[1]);
    assert_ne!(scans[0], scans[2]);
}
