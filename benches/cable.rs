//! Measures the cost of a SYN across a veth pair, including all work of the kernel, for tcp-bounce and other servers.
//!
//! One BPF program sends SYNs from spoofed sources, and another counts and drops the replies. Everything runs on one
//! CPU, so the elapsed time is the sum of all costs.

use std::any::Any;
use std::error::Error;
use std::path::Path;

use tcp_bounce::internals::AttachMode;

use crate::fixtures::flood::{FORGED, Flood, Kind, Received, Sink};
use crate::fixtures::network::{CLIENT, Mode, Network};
use crate::fixtures::programs;
use crate::peer::{self, Peers};
use crate::report::{Report, median, percent, rounded, row};

/// The title of the section, in which the chart finds its figures.
pub const SECTION: &str = "Across a veth pair";
/// The header of the first column of the table that the chart shows.
pub const TABLE: &str = "server";

/// The number of repetitions of the whole setup.
///
/// The cost of a program varies by some nanoseconds with the kernel addresses of the program and of its maps. They
/// change only when the program is loaded again.
const SETUPS: usize = 7;
/// The number of turns in a setup, after one that warms up. Each turn measures each server once, and the report has the
/// medians of all turns.
const TURNS: usize = 5;
/// The number of SYNs to each server in a turn.
const SYNS: u32 = 200_000;
/// The number of SYNs in a turn to a server for which the kernel tracks each of them.
///
/// The SYNs of all turns of a setup, including the warm-up, fit in the smallest connection table (65,536 entries).
const TRACKED_SYNS: u32 = 60_000 / (TURNS as u32 + 1);

/// The destination port of the SYNs.
const PORT: u16 = 80;
/// The port of the listener that NAT redirects all ports to.
const LISTENER: u16 = 4444;

#[derive(Clone, Copy, PartialEq)]
enum Server<'a> {
    /// A program that drops each SYN on arrival.
    Drop,
    /// The cheapest program that sends a frame back.
    SwapMacs(Mode),
    TcpBounce(Mode),
    /// Another XDP program, with its name and its object file.
    Program(&'a str, &'a Path, Mode),
    /// No listener, so that the kernel answers with RST.
    ClosedPort,
    /// A listener for which the kernel answers every SYN with a SYN cookie.
    SynCookies,
    Synproxy,
    /// NAT that redirects every port to one listener, as for portspoof.
    Redirect,
}

impl Server<'_> {
    fn name(self) -> String {
        match self {
            Self::Drop => "no answer: `XDP_DROP` on arrival".to_owned(),
            Self::SwapMacs(mode) => format!("floor: swap the MACs, {}", mode.name()),
            Self::TcpBounce(mode) => format!("tcp-bounce, {}", mode.name()),
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

    /// Returns the number of frames in `received` that are answers of this server.
    fn answers(self, received: Received) -> u64 {
        match self {
            Self::SwapMacs(_) => received.others,
            Self::ClosedPort => received.resets,
            _ => received.syn_acks,
        }
    }

    /// Starts the server at the host's end of the cable. It runs until the result is dropped.
    fn start(self, network: &Network) -> Box<dyn Any> {
        let host = &network.host;
        host.ip(&format!("route add {FORGED} via {CLIENT}"));
        network.receive_redirected();
        let attach = |object, name, mode| {
            let link = programs::attach(&object, name, host, "host0", attach_mode(mode));
            Box::new((link, object))
        };
        let listen = |port| Box::new(network.listen(port));
        match self {
            Self::Drop => attach(programs::bench(&[]), "discard", Mode::Native),
            Self::SwapMacs(mode) => attach(programs::bench(&[]), "swap_macs", mode),
            Self::TcpBounce(_) => Box::new(network.start_responder("")),
            Self::Program(_, path, mode) => {
                let program = peer::load(path).expect("the program was loaded before");
                let link = programs::attach_program(peer::program(&program), host, "host0", attach_mode(mode));
                Box::new((link, program))
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

/// Adds an nftables rule for arriving packets, at the given priority of the hook `prerouting`.
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

/// The results of a server, from all turns of all setups.
#[derive(Default)]
struct Turns {
    /// The cost of a SYN that arrived, in nanoseconds, for each turn.
    costs: Vec<f64>,
    /// The share of the arrived SYNs that were answered, for each turn.
    answered: Vec<f64>,
    /// The total number of SYNs that the cable lost.
    lost: u64,
}

impl Turns {
    /// Returns the median cost of a SYN above `baseline`, in nanoseconds. `baseline` has a cost for each turn.
    fn cost_above(&self, baseline: &[f64]) -> f64 {
        median(self.costs.iter().zip(baseline).map(|(cost, base)| cost - base))
    }
}

/// Sets up all servers, measures each of them once per turn, and adds the results to `turns`.
///
/// For each turn, also adds to `zeros` the cost of generating a SYN that is not sent, in nanoseconds.
fn take_turns(servers: &[Server], turns: &mut [Turns], zeros: &mut Vec<f64>) {
    let networks: Vec<_> = servers
        .iter()
        .map(|server| match server {
            Server::SwapMacs(mode) | Server::TcpBounce(mode) | Server::Program(.., mode) => *mode,
            _ => Mode::Native,
        })
        .map(Network::without_program)
        .collect();
    let sinks: Vec<_> = networks.iter().map(Sink::new).collect();
    let _running: Vec<_> = servers.iter().zip(&networks).map(|(server, network)| server.start(network)).collect();
    let floods: Vec<_> = networks.iter().map(|network| Flood::new(network, Kind::Syn, PORT)).collect();
    for turn in 0..=TURNS {
        // The first turn only warms up.
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

/// Returns the servers in the order of the report.
fn all_servers(peers: &Peers) -> Vec<Server<'_>> {
    let mut servers = vec![Server::Drop];
    for mode in [Mode::Native, Mode::Skb] {
        servers.extend([Server::SwapMacs(mode), Server::TcpBounce(mode)]);
        servers.extend(peers.all().map(|(name, path)| Server::Program(name, path, mode)));
    }
    servers.extend([Server::ClosedPort, Server::SynCookies, Server::Synproxy, Server::Redirect]);
    servers
}

/// Measures the cost of a SYN with each server, and reports the results as a table and as targets.
pub fn report(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    report.section(
        SECTION,
        "The time from sending a SYN into one end until its answer is consumed there, all on one CPU, without the cost \
         of generating the SYN. The next two columns also exclude the cost of delivering the SYN, which is the first \
         row.",
    );
    let servers = all_servers(peers);
    let (mut turns, mut zeros) = (servers.iter().map(|_| Turns::default()).collect::<Vec<_>>(), Vec::new());
    for _ in 0..SETUPS {
        take_turns(&servers, &mut turns, &mut zeros);
    }
    // The first server, `Server::Drop`, only receives the SYN.
    let own_cost = |turns_of: &Turns| turns_of.cost_above(&turns[0].costs);
    let own_cost_of = |wanted| {
        let index = servers.iter().position(|&server| server == wanted);
        own_cost(&turns[index.expect("the server was measured")])
    };
    let native = own_cost_of(Server::TcpBounce(Mode::Native));
    let mut rows = Vec::new();
    for (server, turns) in servers.iter().zip(&turns) {
        let (name, cost) = (server.name(), turns.cost_above(&zeros));
        let figures = match server {
            Server::Drop => ["-".to_owned(), "-".to_owned()],
            _ => [rounded(own_cost(turns)), rounded(own_cost(turns) / native)],
        };
        let answered = percent(median(turns.answered.iter().copied()));
        rows.push(row(name, [rounded(cost)].into_iter().chain(figures).chain([answered])));
    }
    report.table(&[TABLE, "ns per SYN", "above no answer", "of tcp-bounce, native", "answered"], rows);
    let zero = median(zeros.iter().copied());
    let lost: u64 = turns.iter().map(|turns| turns.lost).sum();
    report.paragraph(&format!(
        "Generating a SYN takes {} ns, so the generator alone reaches {} million per second on one CPU. On the way to the servers, \
         {lost} SYNs were lost. The costs do not include them.",
        rounded(zero),
        rounded(1e3 / zero)
    ));
    report.at_most(
        "across a veth pair, native, above no answer: of a bare MAC swap",
        1.15,
        "",
        native / own_cost_of(Server::SwapMacs(Mode::Native)),
    );
    report.at_least(
        "NAT of all ports to one listener, above no answer: of tcp-bounce, native",
        50.0,
        "",
        own_cost_of(Server::Redirect) / native,
    );
    Ok(())
}
