//! What a SYN costs with all that the kernel does about it, and how others do it.
//!
//! A program in the kernel sends SYNs from forged sources across a veth pair, and another counts and drops what comes back. All
//! of it takes place on one CPU, so the time of it all is the sum.

use std::any::Any;
use std::error::Error;
use std::path::Path;

use tcp_bounce::internals::AttachMode;

use crate::fixtures::flood::{FORGED, Flood, Kind, Received, Sink};
use crate::fixtures::network::{CLIENT, Mode, Network};
use crate::fixtures::programs;
use crate::peer::{self, Peers};
use crate::report::{Report, median, percent, rounded, row};

/// How often all is set up anew: where in memory the kernel puts a program and its maps makes a difference of some
/// nanoseconds, which stays as long as they do.
const SETUPS: usize = 7;
/// Turns of each in a set-up. The median of all counts.
const TURNS: usize = 5;
/// SYNs in a turn.
const SYNS: u32 = 200_000;
/// The same where the kernel keeps each: in a set-up fewer than the smallest table of connections takes, of 65,536.
const TRACKED_SYNS: u32 = 60_000 / (TURNS as u32 + 1);

/// The port that SYNs go to.
const PORT: u16 = 80;
/// The port of the one listener that all others lead to.
const LISTENER: u16 = 4444;

/// Who answers.
#[derive(Clone, Copy, PartialEq)]
enum Server<'a> {
    /// Nobody: dropped on arrival.
    Nobody,
    /// The least that sends a frame back.
    SwapMacs(Mode),
    Bounce(Mode),
    /// Another XDP program.
    Program(&'a str, &'a Path, Mode),
    /// The kernel, with RST: nobody listens.
    ClosedPort,
    /// A listener whose kernel keeps no state.
    SynCookies,
    Synproxy,
    /// portspoof's way: every port leads to one listener.
    Redirect,
}

impl Server<'_> {
    fn name(self) -> String {
        match self {
            Self::Nobody => "nobody: `XDP_DROP` on arrival".to_owned(),
            Self::SwapMacs(mode) => format!("floor: swap the MACs, {}", mode.name()),
            Self::Bounce(mode) => format!("tcp-bounce, {}", mode.name()),
            Self::Program(name, _, mode) => format!("{name}, {}", mode.name()),
            Self::ClosedPort => "closed port: RST by the kernel".to_owned(),
            Self::SynCookies => "listener with SYN cookies".to_owned(),
            Self::Synproxy => "nftables `synproxy`".to_owned(),
            Self::Redirect => "NAT of all ports to one listener".to_owned(),
        }
    }

    fn syns(self) -> u32 {
        if self == Self::Redirect { TRACKED_SYNS } else { SYNS }
    }

    /// How many of what came back are answers.
    fn answers(self, received: Received) -> u64 {
        match self {
            Self::SwapMacs(_) => received.others,
            Self::ClosedPort => received.resets,
            _ => received.syn_acks,
        }
    }

    /// Sets it up at the host's end; it is there as long as the result.
    fn start(self, network: &Network) -> Box<dyn Any> {
        let host = &network.host;
        host.ip(&format!("route add {FORGED} via {CLIENT}"));
        network.receive_redirected();
        let attach = |object, name, mode| {
            let attachment = programs::attach(&object, name, host, "host0", attach_mode(mode));
            Box::new((attachment, object))
        };
        let listen = |port| Box::new(network.listen(port));
        match self {
            Self::Nobody => attach(programs::bench(&[]), "discard", Mode::Native),
            Self::SwapMacs(mode) => attach(programs::bench(&[]), "swap_macs", mode),
            Self::Bounce(_) => Box::new(network.start_responder("")),
            Self::Program(_, path, mode) => {
                let program = peer::load(path).expect("it was loaded before");
                let attachment = programs::attach_program(peer::program(&program), host, "host0", attach_mode(mode));
                Box::new((attachment, program))
            }
            Self::ClosedPort => Box::new(()),
            Self::SynCookies => {
                host.sysctl("ipv4/tcp_syncookies", "2");
                listen(PORT)
            }
            Self::Synproxy => {
                nft(network, "tcp flags syn notrack", "raw");
                let rules = "add chain inet t input { type filter hook input priority 0; } ;\
                     add rule inet t input ct state untracked,invalid synproxy mss 1460 wscale 7 timestamp sack-perm";
                host.sysctl("netfilter/nf_conntrack_tcp_loose", "0");
                host.run("nft", rules);
                listen(PORT)
            }
            Self::Redirect => {
                nft(network, &format!("meta l4proto tcp redirect to :{LISTENER}"), "dstnat");
                listen(LISTENER)
            }
        }
    }
}

/// Adds a rule for what arrives.
fn nft(network: &Network, rule: &str, priority: &str) {
    let kind = if priority == "dstnat" { "nat" } else { "filter" };
    let chain = format!("add chain inet t prerouting {{ type {kind} hook prerouting priority {priority}; }}");
    network.host.run("nft", &format!("add table inet t ; {chain} ; add rule inet t prerouting {rule}"));
}

fn attach_mode(mode: Mode) -> AttachMode {
    match mode {
        Mode::Native => AttachMode::Native,
        Mode::Skb => AttachMode::Skb,
    }
}

/// What all turns of a server gave.
#[derive(Default)]
struct Turns {
    /// Nanoseconds per SYN that arrived.
    costs: Vec<f64>,
    /// The share of them that was answered.
    answered: Vec<f64>,
    /// How many were lost on the way there.
    lost: u64,
}

/// Sets all of them up, and has them take turns; also makes the SYNs without sending them.
fn set_up(servers: &[Server], turns: &mut [Turns], zeros: &mut Vec<f64>) {
    let networks: Vec<_> = servers
        .iter()
        .map(|server| match server {
            Server::SwapMacs(mode) | Server::Bounce(mode) | Server::Program(.., mode) => *mode,
            _ => Mode::Native,
        })
        .map(Network::without_program)
        .collect();
    let sinks: Vec<_> = networks.iter().map(Sink::new).collect();
    let _running: Vec<_> = servers.iter().zip(&networks).map(|(server, network)| server.start(network)).collect();
    let floods: Vec<_> = networks.iter().map(|network| Flood::new(network, Kind::Syn, PORT)).collect();
    for turn in 0..=TURNS {
        // The first is for warming up.
        let counts = turn > 0;
        let zero = floods[0].rehearse(SYNS).as_secs_f64() * 1e9 / f64::from(SYNS);
        zeros.extend(counts.then_some(zero));
        for (index, server) in servers.iter().enumerate() {
            let (network, sink) = (&networks[index], &sinks[index]);
            let (lost, received) = (network.lost(), sink.received());
            let time = floods[index].send(server.syns());
            let lost = network.lost() - lost;
            let answers = server.answers(sink.received()) - server.answers(received);
            if counts {
                let arrived = (u64::from(server.syns()) - lost) as f64;
                turns[index].costs.push(time.as_secs_f64() * 1e9 / arrived);
                turns[index].answered.push(answers as f64 / arrived);
                turns[index].lost += lost;
            }
        }
    }
}

/// Measures them all.
pub fn report(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    report.section(
        "Across a veth pair",
        "All that the kernel does from the moment when a SYN is sent into one end until the answer has been consumed there, on one CPU. \
         What it takes to make the SYNs, in the kernel as well, is subtracted. In the next two columns the way there, the first row, is \
         subtracted too.",
    );
    let mut servers = vec![Server::Nobody];
    for mode in [Mode::Native, Mode::Skb] {
        servers.extend([Server::SwapMacs(mode), Server::Bounce(mode)]);
        servers.extend(peers.all().map(|(name, path)| Server::Program(name, path, mode)));
    }
    servers.extend([Server::ClosedPort, Server::SynCookies, Server::Synproxy, Server::Redirect]);

    let (mut turns, mut zeros) = (servers.iter().map(|_| Turns::default()).collect::<Vec<_>>(), Vec::new());
    for _ in 0..SETUPS {
        set_up(&servers, &mut turns, &mut zeros);
    }
    let above =
        |index: usize, zeros: &[f64]| median(turns[index].costs.iter().zip(zeros).map(|(cost, zero)| cost - zero));
    // The first is nobody.
    let own = |index| above(index, &turns[0].costs);
    let own_of = |wanted| own(servers.iter().position(|&server| server == wanted).expect("it is one of them"));
    let native = own_of(Server::Bounce(Mode::Native));
    let rows = servers.iter().enumerate().map(|(index, server)| {
        let (name, cost) = (server.name(), above(index, &zeros));
        report.bar(&name, cost);
        let answered = median(turns[index].answered.iter().copied());
        let figures = if index == 0 {
            ["-".to_owned(), "-".to_owned()]
        } else {
            [rounded(own(index)), rounded(own(index) / native)]
        };
        row(name, [rounded(cost)].into_iter().chain(figures).chain([percent(answered)]))
    });
    let rows: Vec<_> = rows.collect();
    report.table(&["who answers", "ns per SYN", "above nobody", "of tcp-bounce, native", "answered"], rows);
    let zero = median(zeros.iter().copied());
    let lost: u64 = turns.iter().map(|turns| turns.lost).sum();
    report.paragraph(&format!(
        "To make a SYN takes {} ns: the generator's own rate is {} million per second on one CPU. Of all SYNs, {lost} were lost on the \
         way there; what a SYN costs is the time divided by the rest.",
        rounded(zero),
        rounded(1e3 / zero)
    ));
    report.at_most(
        "across a veth pair, native, above nobody: of a bare MAC swap",
        1.15,
        "",
        native / own_of(Server::SwapMacs(Mode::Native)),
    );
    report.at_least(
        "NAT of all ports to one listener, above nobody: of tcp-bounce, native",
        50.0,
        "",
        own_of(Server::Redirect) / native,
    );
    Ok(())
}
