//! Clients of the services of a profile.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use tcp_bounce_wire::Verdict;
use tempfile::NamedTempFile;

use crate::fixtures::network::{HOST, HOSTS, Mode, Network};
use crate::fixtures::process::run;
use crate::fixtures::{DEADLINE, until};

in_each_mode! {
    curl_gets_the_page,
    ssh_reads_the_version_and_ends,
    python_libraries_talk_to_the_mail_server,
    a_client_that_reads_the_banner_and_closes_ends_at_once,
    closed_ports_are_reset,
    each_ending_ends_connections,
    long_payloads_arrive_whole,
    a_key_selects_the_random_ports,
}

/// Writes a profile to a file with a name that `--profile` takes for a file.
fn profile(text: &str) -> NamedTempFile {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(&file, text).unwrap();
    file
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

fn ssh_reads_the_version_and_ends(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile linux-server");
    let mut ssh = network.client.command("ssh");
    ssh.args([
        "-v",
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        "ConnectTimeout=20",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ]);
    let ended = run(ssh.args([&HOST.to_string(), "true"]));
    assert_eq!(ended.status.code(), Some(255), "{ended:?}");
    for line in ["remote software version OpenSSH_9.2p1 Debian", "Too many connections"] {
        assert!(ended.stderr.contains(line), "{ended:?}");
    }
}

fn python_libraries_talk_to_the_mail_server(mode: Mode) {
    const SCRIPT: &str = r#"
import ftplib, poplib, smtplib, sys
host = sys.argv[1]
smtp = smtplib.SMTP(host, 25, timeout=20)
print("smtp", *smtp.ehlo("client.example")[:1], smtp.has_extn("8bitmime"), *smtp.quit()[:1])
pop = poplib.POP3(host, 110, timeout=20)
print("pop", pop.getwelcome().decode())
pop.close()
ftp = ftplib.FTP(timeout=20)
print("ftp", ftp.connect(host, 21))
ftp.close()
"#;
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile linux-server");
    for host in HOSTS {
        let report = run(network.client.command("python3").args(["-c", SCRIPT, &host.to_string()])).success();
        let lines: Vec<&str> = report.lines().collect();
        let [smtp, pop, ftp] = lines[..] else { panic!("{report}") };
        assert_eq!(smtp, "smtp 250 True 221");
        assert!(pop.starts_with("pop +OK") && ftp.starts_with("ftp 220 "), "{report}");
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
    assert_eq!(responder.interrupt().count("passed: to an excluded port"), 10);
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
        let report = network.client.run("nmap", &format!("-n -Pn -sS -p 0-65535 -T4 --max-retries 10 -oG - {HOST}"));
        let entries = report.split(' ').filter_map(|entry| entry.split_once("/open/tcp/"));
        let ports: Vec<u16> = entries.map(|(port, _)| port.parse().unwrap()).collect();
        assert_eq!(ports.len(), 5, "{report}");
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
