//! `--for`: it ends by itself.

#[macro_use]
mod common;

use std::io::{self, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::bouncer::{Summary, TcpBounce};
use common::network::{Mode, Network};
use common::process::Process;
use common::programs::attached;
use common::until;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;

in_each_mode! {
    it_detaches_when_its_time_is_over,
}

fn it_detaches_when_its_time_is_over(mode: Mode) {
    let network = Network::new(mode);
    let started = Instant::now();
    let bouncer = network.bounce("--for 1.5s");
    network.connect(80).unwrap();
    let summary = Summary::of(&bouncer.0.finish());
    assert!(started.elapsed() >= Duration::from_millis(1500));
    assert_eq!(summary.count("SYNs answered"), 1, "{summary:?}");
    network.assert_nothing_is_attached();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn the_user_may_end_it_before() {
    let network = Network::new(Mode::Skb);
    for duration in ["1h", "1000000years"] {
        network.bounce(&format!("--for {duration}")).interrupt();
    }
}

/// As on a terminal whose connection `--takeover` has cut.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn it_detaches_even_where_nobody_reads_what_it_says() {
    let network = Network::new(Mode::Skb);
    let (_reader, mut writer) = io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while writer.write(b"\n").is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();

    let mut command = TcpBounce::command(&network.host, "--mode skb --for 1s host0");
    let bouncer = Process::start_as_is(command.stdout(writer).stderr(Stdio::piped()));
    until("for the program to be attached", || attached(&network.host, "host0"));
    // Not even this helps there.
    bouncer.signal(Signal::SIGINT);
    let finished = bouncer.finish();
    assert!(finished.status.success(), "{finished:?}");
    network.assert_nothing_is_attached();
}
