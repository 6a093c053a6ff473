//! Measures the cost of a packet in the XDP program, by test runs (`BPF_PROG_TEST_RUN`).
//!
//! A wrapper runs each program, and the cost of the wrapper is subtracted.

use std::error::Error;
use std::os::fd::{AsFd as _, BorrowedFd};

use tcp_bounce::internals::loader::ProgramInputs;
use tcp_bounce::internals::prefixes::ranges;
use tcp_bounce::internals::skel::TcpBounceSkel;
use tcp_bounce::internals::{EventReader, event_ring};
use tcp_bounce::internals::{client_tables, loader};
use tcp_bounce_wire::address::{Ipv4Address, Mac};
use tcp_bounce_wire::{
    Action, ActionByPort, ActionSet, EventCounts, Filters, InterfaceState, Isn, ProgramSettings, TelemetrySettings,
};
use zerocopy::FromZeros as _;

use crate::packets::{
    KEY, LINUX_SYN, LINUX_SYN_V6, OTHERS, POST_HANDSHAKE, TAGGED_LINUX_SYN_V6, TX, acknowledge, packet,
};
use crate::peer::{self, Peers};
use crate::report::{Report, percent};
use crate::wrapper::{Case, Wrapper, measure, table};

const ARTICLE: &str = "the article's program";
const MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);

/// Returns the settings that the command uses by default, but without multi-buffer support (`frags`).
///
/// A wrapper can tail-call only programs with the same `frags` flag, and the other programs in the comparison lack it.
pub fn settings() -> ProgramSettings {
    ProgramSettings { checks_mac: true, filters_destinations: true, ..ProgramSettings::DEFAULT }
}

/// Loads tcp-bounce for an interface whose primary addresses are the packets' destinations, so that it searches no
/// prefixes.
pub fn load(settings: ProgramSettings, filters: &Filters) -> Result<TcpBounceSkel<'static>, Box<dyn Error>> {
    let mut link = InterfaceState::new(MAC, 1500, None, None);
    link.primary_v4 = Ipv4Address([10, 0, 0, 2]);
    link.primary_v6.0[..2].copy_from_slice(&[0xfd, 0]);
    link.primary_v6.0[15] = 2;
    load_at(&link, settings, filters)
}

/// Loads tcp-bounce for an interface without primary addresses, so that it has to search the prefixes.
pub fn load_searching(settings: ProgramSettings, filters: &Filters) -> Result<TcpBounceSkel<'static>, Box<dyn Error>> {
    load_at(&InterfaceState::new(MAC, 1500, None, None), settings, filters)
}

fn load_at(
    link: &InterfaceState,
    settings: ProgramSettings,
    filters: &Filters,
) -> Result<TcpBounceSkel<'static>, Box<dyn Error>> {
    let actions = ActionByPort::new_box_zeroed().map_err(|_| "no memory")?;
    Ok(loader::load(&ProgramInputs { settings, interface: link, filters, actions: &actions }, None)?)
}

/// Returns filters with the given prefixes, both as destinations and as sources.
pub fn filters(prefixes: &[impl AsRef<str>]) -> Result<Box<Filters>, Box<dyn Error>> {
    let prefixes = prefixes.iter().map(|prefix| prefix.as_ref().parse()).collect::<Result<Vec<_>, _>>()?;
    let mut filters = Filters::new_box_zeroed().map_err(|_| "no memory")?;
    filters.destinations[0].fill(&ranges(&prefixes)).ok_or("too many prefixes")?;
    filters.sources.fill(&ranges(&prefixes)).ok_or("too many prefixes")?;
    Ok(filters)
}

/// Returns `count` prefixes. The last one contains the IPv6 addresses of the packets.
pub fn many_prefixes(count: usize) -> Vec<String> {
    let others = (1..count).map(|number| format!("2001:db8:{number:x}::/48"));
    others.chain(["fd00::/64".to_owned()]).collect()
}

/// Returns filters whose only prefixes are the destination addresses of the packets.
pub fn own_addresses() -> Result<Box<Filters>, Box<dyn Error>> {
    filters(&["10.0.0.2/32", "fd00::2/128"])
}

/// Returns the descriptor of the XDP program in a skeleton.
pub fn fd<'a>(program: &'a TcpBounceSkel) -> BorrowedFd<'a> {
    program.progs.tcp_bounce.as_fd()
}

/// Measures SYNs, telemetry, other packets, and segments after the handshake.
pub fn report(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    report.section(
        "In the kernel",
        "The cost of a packet above the zero, a program that returns `XDP_TX` at once. Each packet is written anew. \
         The last two columns count the instructions that the verifier left in the program, and those that it \
         processed (at most a million).",
    );
    syn(report, peers)?;
    telemetry(report, peers)?;
    other_packets(report, peers)?;
    post_handshake(report, peers)
}

/// Measures a Linux client's SYN with different settings, and with other programs.
fn syn(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    let (settings, own, keyed) = (settings(), own_addresses()?, Isn::Keyed(KEY));
    let mut hundred_ports = own.clone();
    (0..100).for_each(|port| hundred_ports.excluded_ports.insert(port));
    let prefixes = filters(&many_prefixes(1000))?;
    let default = load(settings, &own)?;
    let excluding = load(settings, &hundred_ports)?;
    let takeover = load(ProgramSettings { takeover: true, filters_destinations: false, ..settings }, &own)?;
    let keyed_isn = load(ProgramSettings { isn: keyed, ..settings }, &own)?;
    let filtering = load_searching(ProgramSettings { filters_sources: true, ..settings }, &prefixes)?;
    let echoing = load(
        ProgramSettings { isn: keyed, actions: ActionSet::only(Action::Ignore).with(Action::Echo), ..settings },
        &own,
    )?;
    let everything = load_searching(ProgramSettings { isn: keyed, filters_sources: true, ..settings }, &prefixes)?;

    let [syn, syn_v6, tagged] = [LINUX_SYN, LINUX_SYN_V6, TAGGED_LINUX_SYN_V6].map(|hex| Wrapper::new(&packet(hex)));
    let peers = peers.load()?;
    let mut cases = vec![
        Case::new("floor: swap the MACs", &syn, syn.program("swap_macs")?, TX)?,
        Case::new("**tcp-bounce**", &syn, fd(&default), TX)?,
        Case::new("with 100 excluded ports", &syn, fd(&excluding), TX)?,
        Case::new("`--takeover`", &syn, fd(&takeover), TX)?,
        Case::new("`--isn keyed`", &syn, fd(&keyed_isn), TX)?,
        Case::new("`--on-connect echo:7`, to another port", &syn, fd(&echoing), TX)?,
        Case::new("over IPv6", &syn_v6, fd(&default), TX)?,
        Case::new("over IPv6, `--dst` and `--src` with 1000 prefixes each", &syn_v6, fd(&filtering), TX)?,
        Case::new("everything on: these prefixes, `--isn keyed`, two VLAN tags", &tagged, fd(&everything), TX)?,
    ];
    for (name, object) in &peers {
        cases.push(Case::new(name, &syn, peer::program(object), TX)?);
    }
    measure(&mut cases)?;
    table(report, "Linux's SYN", &cases, ARTICLE);
    let (floor, bounce) = (&cases[0], &cases[1]);
    if let Some(article) = cases.iter().find(|case| case.name() == ARTICLE) {
        report.at_most("in the kernel: of the article's program", 0.40, "", bounce.ratio(article));
    }
    // Uses the ratio of the medians, not the median of the ratios. The floor costs so little that the ratio of a turn
    // varies widely.
    report.at_most("in the kernel: of the floor", 4.0, "", bounce.cost() / floor.cost());
    Ok(())
}

/// Measures and reports the cases and, if it is available, the article's program with a Linux client's SYN.
fn compare(report: &mut Report, title: &str, cases: Vec<Case>, peers: &Peers) -> Result<(), Box<dyn Error>> {
    let (article, syn) = (peers.load_article()?, Wrapper::new(&packet(LINUX_SYN)));
    // Shortens the lifetime of the cases, so that the vector can also hold a case that borrows `article` and `syn`.
    let mut cases: Vec<Case> = cases;
    if let Some(object) = &article {
        cases.push(Case::new(ARTICLE, &syn, peer::program(object), TX)?);
    }
    measure(&mut cases)?;
    table(report, title, &cases, ARTICLE);
    Ok(())
}

/// Measures the cost of answering a Linux client's SYN with each kind of telemetry.
fn telemetry(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    let (own, syn) = (own_addresses()?, Wrapper::new(&packet(LINUX_SYN)));
    let load_with = |telemetry| load(ProgramSettings { telemetry, ..settings() }, &own);
    let (stripes, shared) = client_tables::stripes()?;
    let nothing = TelemetrySettings { stripes, shared, ..TelemetrySettings::default() };
    let default = load(settings(), &own)?;
    let by_port = load_with(TelemetrySettings { ports: true, ..nothing })?;
    let by_source = load_with(TelemetrySettings { sources: true, ..nothing })?;
    let by_both = load_with(TelemetrySettings { ports: true, sources: true, ..nothing })?;
    let events = load_with(TelemetrySettings { events: 1, ..nothing })?;
    let sampled = load_with(TelemetrySettings { events: 1000, ..nothing })?;
    let mut reader = EventReader::default();
    for program in [&events, &sampled] {
        reader.read(program, "", drop)?;
    }
    let cases = vec![
        Case::new("counters only", &syn, fd(&default), TX)?,
        Case::new("counted by port", &syn, fd(&by_port), TX)?,
        Case::new("counted by source", &syn, fd(&by_source), TX)?,
        Case::new("counted by port and by source (`--top-talkers`)", &syn, fd(&by_both), TX)?,
        Case::new("events, 1 in 1000", &syn, fd(&sampled), TX)?,
        Case::new("events, 1 in 1 (`--events`)", &syn, fd(&events), TX)?,
    ];
    compare(report, "telemetry", cases, peers)?;
    reader.finish();
    let EventCounts { delivered, dropped, .. } = event_ring::counts(&events)?;
    let share = percent(dropped as f64 / (delivered + dropped) as f64);
    report.paragraph(&format!("With `--events`, {share} of the events were dropped. The reader ran on another CPU."));
    Ok(())
}

/// Measures packets other than a Linux client's SYN.
fn other_packets(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    let default = load(settings(), &*own_addresses()?)?;
    let others = OTHERS.map(|(name, action, hex)| (name, action, Wrapper::new(&packet(hex))));
    let cases = others.iter().map(|(name, action, wrapper)| Case::new(name, wrapper, fd(&default), *action));
    compare(report, "other packets (the article's: Linux's SYN)", cases.collect::<Result<_, _>>()?, peers)
}

/// Measures segments after the handshake, with each post-handshake action.
fn post_handshake(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    let (settings, own, keyed) = (settings(), own_addresses()?, Isn::Keyed(KEY));
    let segments = POST_HANDSHAKE.map(|(post_handshake, name, xdp_action, hex)| {
        let mut packet = packet(hex);
        let isn = if post_handshake.follows_client() { keyed } else { settings.isn };
        if post_handshake.follows_client() {
            acknowledge(&mut packet);
        }
        let program = load(ProgramSettings { actions: ActionSet::only(post_handshake), isn, ..settings }, &own)?;
        Ok::<_, Box<dyn Error>>((name, xdp_action, Wrapper::new(&packet), program))
    });
    let segments = segments.into_iter().collect::<Result<Vec<_>, _>>()?;
    let cases = segments.iter().map(|(name, action, wrapper, program)| Case::new(name, wrapper, fd(program), *action));
    compare(report, "after the handshake (the article's: Linux's SYN)", cases.collect::<Result<_, _>>()?, peers)
}
