//! The BPF object file, loaded by `ip` and xdp-loader instead of tcp-bounce.

use std::process::Stdio;

use crate::fixtures::network::{Mode, Network};
use crate::fixtures::process::Process;
use crate::fixtures::programs::{PROGRAM_OBJECT, ip_link_set};
use crate::fixtures::{accept, exchange, is_silent};

/// Checks that the program answers on each port without a listener, and that the host serves its listener.
#[track_caller]
fn assert_every_other_port_answers(network: &Network) {
    let listener = network.listen(2222);
    for port in [1, 22, 80, 5000, 65535] {
        let mut connection = network.connect(port).unwrap();
        assert!(is_silent(&mut connection));
        exchange(&mut network.connect(2222).unwrap(), &mut accept(&listener));
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn ip_link_loads_the_object() {
    for (mode, keyword) in [(Mode::Native, "xdpdrv"), (Mode::Skb, "xdpgeneric")] {
        let network = Network::new(mode);
        ip_link_set(&network.host, &format!("host0 {keyword} object {PROGRAM_OBJECT} section xdp"));
        assert_every_other_port_answers(&network);
        ip_link_set(&network.host, &format!("host0 {keyword} off"));
        network.assert_nothing_is_attached();
    }
}

/// Checks that xdp-loader can load and unload the object.
///
/// xdp-loader pins objects in the BPF file system. The test mounts a separate file system, which disappears
/// with the shell.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn xdp_loader_loads_the_object() {
    for (mode, keyword) in [(Mode::Native, "native"), (Mode::Skb, "skb")] {
        let network = Network::new(mode);
        let script = format!(
            "set -e; mount -t bpf bpf /sys/fs/bpf; xdp-loader load -m {keyword} host0 {PROGRAM_OBJECT}; echo loaded; \
             read -r _ || true; xdp-loader unload host0 --all"
        );
        let mut unshare = network.host.command("unshare");
        unshare.args(["--mount", "sh", "-c", &script]);
        let mut shell =
            Process::start_as_is(unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()));
        shell.wait_for("loaded");
        assert_every_other_port_answers(&network);
        drop(shell.child.stdin.take());
        shell.finish().success();
        network.assert_nothing_is_attached();
    }
}
