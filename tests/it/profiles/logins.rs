//! Clients that log in: to mail servers, file servers, databases, a camera and a router. Every login fails, and no
//! client waits for a reply that does not come.

use std::fs::File;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::Stdio;

use nix::pty::{OpenptyResult, openpty};

use crate::fixtures::network::{HOSTS, Mode, Network};
use crate::fixtures::process::{Finished, Process, run};

in_each_mode! {
    python_libraries_are_refused,
    curl_is_refused,
    ftp_is_refused,
    redis_cli_is_refused,
    mysql_is_refused,
    psql_is_refused,
    telnet_asks_for_the_password,
    telnet_on_a_terminal_sends_whole_lines,
}

fn python_libraries_are_refused(mode: Mode) {
    const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/profiles/logins.py");
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile linux-server");
    for host in HOSTS {
        let report = run(network.client.command("python3").args([SCRIPT, &host.to_string()])).success();
        let expected = [
            "smtp 250 250 True 221",
            "smtp SMTPSenderRefused 421 ",
            "smtp 250 250 True 221",
            "smtp SMTPSenderRefused 421 ",
            "pop3 +OK Dovecot ready. True +OK",
            "pop3 error_proto b'-ERR [AUTH] Authentication failed.' +OK",
            "imap abort ",
            "ftp 220 (vsFTPd 3.0.3) | error_perm 530 Login incorrect. | 221 Goodbye.",
        ];
        let lines: Vec<&str> = report.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{host} {report}");
        for (line, start) in lines.into_iter().zip(expected) {
            assert!(line.starts_with(start), "{host} {start:?}: {report}");
        }
    }
}

/// Returns `host` as in a URL.
fn in_url(host: IpAddr) -> String {
    if host.is_ipv6() { format!("[{host}]") } else { host.to_string() }
}

/// Runs curl, with arguments separated by spaces.
fn curl(network: &Network, arguments: &str) -> Finished {
    let mut command = network.client.command("curl");
    run(command
        .args(["-q", "--silent", "--show-error", "--noproxy", "*", "--max-time", "120"])
        .args(arguments.split(' ')))
}

fn curl_is_refused(mode: Mode) {
    /// The exit statuses of curl (`man curl`).
    const LOGIN_DENIED: i32 = 67;
    const SEND_ERROR: i32 = 55;
    let network = Network::new(mode);
    let server = network.start_responder("--profile linux-server");
    let mail = concat!(
        "--mail-from from@client.example --mail-rcpt to@client.example --upload-file ",
        env!("CARGO_MANIFEST_DIR"),
        "/Cargo.toml "
    );
    for host in HOSTS.map(in_url) {
        for (arguments, status, message) in [
            (format!("ftp://root:secret@{host}/"), LOGIN_DENIED, "Access denied: 530"),
            (format!("pop3://root:secret@{host}/"), LOGIN_DENIED, "Access denied"),
            (format!("{mail}smtp://{host}/"), SEND_ERROR, "MAIL failed: 421"),
        ] {
            let ended = curl(&network, &arguments);
            assert_eq!(ended.status.code(), Some(status), "{arguments} {ended:?}");
            assert!(ended.stderr.contains(message), "{arguments} {ended:?}");
        }
    }
    server.interrupt();
    let _camera = network.start_responder("--profile ip-camera");
    for host in HOSTS.map(in_url) {
        let page = curl(&network, &format!("--include --user admin:admin http://{host}/")).success();
        assert!(page.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{page}");
    }
}

fn ftp_is_refused(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile linux-server");
    for host in HOSTS.map(in_url) {
        let ended = run(network.client.command("tnftp").args(["-v", &format!("ftp://{host}/")]));
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        for line in ["220 (vsFTPd 3.0.3)\n", "331 ", "530 Login incorrect.\n", "221 "] {
            assert!(ended.stdout.contains(line), "{line:?} {ended:?}");
        }
    }
}

fn redis_cli_is_refused(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile database");
    for host in HOSTS {
        for command in ["ping", "get key", "info", "config get dir"] {
            let reply = network.client.run("redis-cli", &format!("-h {host} {command}"));
            assert_eq!(reply.trim(), "NOAUTH Authentication required.", "{command}");
        }
    }
}

fn mysql_is_refused(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile database");
    for host in HOSTS {
        let arguments =
            format!("--no-defaults --protocol=tcp --host={host} --user=root --password=secret --execute=quit");
        let ended = run(network.client.command("mysql").args(arguments.split(' ')));
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains("ERROR 1045 (28000): Access denied for user"), "{ended:?}");
    }
}

fn psql_is_refused(mode: Mode) {
    const BAD_CONNECTION: Option<i32> = Some(2);
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile database");
    for host in HOSTS {
        for (encryption, message) in [
            ("prefer", "FATAL:  the database system is starting up"),
            ("require", "server does not support SSL, but SSL was required"),
        ] {
            let target = format!("host={host} user=postgres sslmode={encryption}");
            let ended = run(network.client.command("psql").args(["--no-psqlrc", "--no-password", &target]));
            assert_eq!(ended.status.code(), BAD_CONNECTION, "{ended:?}");
            assert!(ended.stderr.contains(message), "{encryption} {ended:?}");
        }
    }
}

fn telnet_asks_for_the_password(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile router");
    for host in HOSTS {
        for name in ["root", "admin", "user", "support"] {
            let mut telnet = start_telnet(&network, host, 23, Stdio::piped());
            telnet.wait_for("DD-WRT login: ");
            telnet.child.stdin.as_mut().unwrap().write_all(format!("{name}\n").as_bytes()).unwrap();
            telnet.wait_for("login: Password: ");
        }
    }
}

/// On a terminal, telnet sends each key in its own segment if the server offers to echo.
fn telnet_on_a_terminal_sends_whole_lines(mode: Mode) {
    let network = Network::new(mode);
    for (profile, port, prompt) in [("router", 23, "DD-WRT login: "), ("all-ports", 2323, "gateway login: ")] {
        let responder = network.start_responder(&format!("--profile {profile}"));
        for host in HOSTS {
            let OpenptyResult { master, slave } = openpty(None, None).unwrap();
            let telnet = start_telnet(&network, host, port, slave.into());
            telnet.wait_for(prompt);
            let mut keyboard = File::from(master);
            for key in b"admin\r" {
                keyboard.write_all(&[*key]).unwrap();
            }
            telnet.wait_for("login: Password: ");
        }
        responder.interrupt();
    }
}

/// Starts telnet to `host` and `port`, with this standard input.
fn start_telnet(network: &Network, host: IpAddr, port: u16, stdin: Stdio) -> Process {
    let mut command = network.client.command("telnet");
    let target = [host.to_string(), port.to_string()];
    Process::start_as_is(command.args(target).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()))
}
