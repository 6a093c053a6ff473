//! Clients that expect TLS or another encryption. They fail as on a server without it.

use std::net::SocketAddr;

use crate::fixtures::network::{HOST, HOSTS, Mode, Network};
use crate::fixtures::process::run;

in_each_mode! {
    openssl_finds_no_tls,
    curl_finds_no_tls,
    ssh_reads_the_version_and_ends,
}

fn openssl_finds_no_tls(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile linux-server");
    for host in HOSTS {
        for port in [21, 22, 25, 80, 110, 143, 587] {
            let address = SocketAddr::new(host, port).to_string();
            let ended = run(network.client.command("openssl").args(["s_client", "-connect", &address]));
            assert_eq!(ended.status.code(), Some(1), "{address} {ended:?}");
            assert!(ended.stderr.contains(":SSL routines:"), "{address} {ended:?}");
            assert!(ended.stdout.contains("no peer certificate available"), "{address} {ended:?}");
        }
    }
}

fn curl_finds_no_tls(mode: Mode) {
    const SSL_CONNECT_ERROR: Option<i32> = Some(35);
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile linux-server");
    for url in ["https://192.0.2.1:80/", "https://[2001:db8::1]:80/"] {
        let ended = run(network.client.command("curl").args(["-q", "-sS", "--noproxy", "*", "--max-time", "60", url]));
        assert_eq!(ended.status.code(), SSL_CONNECT_ERROR, "{ended:?}");
    }
}

fn ssh_reads_the_version_and_ends(mode: Mode) {
    let network = Network::new(mode);
    let _responder = network.start_responder("--profile linux-server");
    let mut ssh = network.client.command("ssh");
    ssh.args("-v -F none -o BatchMode=yes -o ConnectTimeout=20 -o UserKnownHostsFile=/dev/null".split(' '));
    let ended = run(ssh.args([&HOST.to_string(), "true"]));
    assert_eq!(ended.status.code(), Some(255), "{ended:?}");
    for line in ["remote software version OpenSSH_9.2p1 Debian", "Too many connections"] {
        assert!(ended.stderr.contains(line), "{ended:?}");
    }
}
