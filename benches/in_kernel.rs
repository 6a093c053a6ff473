//! What a packet costs in the kernel: each program behind the same wrapper, in turns, less the wrapper alone.

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

use crate::packets::{KEY, LATER, LINUX_SYN, LINUX_SYN_V6, OTHERS, TAGGED_LINUX_SYN_V6, TX, acknowledge, packet};
use crate::peer::{self, Peers};
use crate::report::{Report, percent};
use crate::wrapper::{Case, Wrapper, measure, table};

const ARTICLE: &str = "the article's program";
const MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);

/// The settings that the command makes, but for `frags`: a program without may not call one with, and the peers are without.
pub fn settings() -> ProgramSettings {
    ProgramSettings { checks_mac: true, filters_destinations: true, ..ProgramSettings::DEFAULT }
}

/// Loads tcp-bounce as for an interface that has the addresses of the packets: those are compared, and not looked for.
pub fn load(settings: ProgramSettings, filters: &Filters) -> Result<TcpBounceSkel<'static>, Box<dyn Error>> {
    let mut link = InterfaceState::new(MAC, 1500, None, None);
    link.primary_v4 = Ipv4Address([10, 0, 0, 2]);
    link.primary_v6.0[..2].copy_from_slice(&[0xfd, 0]);
    link.primary_v6.0[15] = 2;
    load_at(&link, settings, filters)
}

/// Loads it as for an interface that has other addresses, so that those of the packets are looked for among the prefixes.
pub fn load_elsewhere(settings: ProgramSettings, filters: &Filters) -> Result<TcpBounceSkel<'static>, Box<dyn Error>> {
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

/// Filters with these prefixes of destinations and sources.
pub fn filters(prefixes: &[impl AsRef<str>]) -> Result<Box<Filters>, Box<dyn Error>> {
    let prefixes = prefixes.iter().map(|prefix| prefix.as_ref().parse()).collect::<Result<Vec<_>, _>>()?;
    let mut filters = Filters::new_box_zeroed().map_err(|_| "no memory")?;
    filters.destinations[0].fill(&ranges(&prefixes)).ok_or("too many prefixes")?;
    filters.sources.fill(&ranges(&prefixes)).ok_or("too many prefixes")?;
    Ok(filters)
}

/// As many prefixes, of which the last has the addresses of the packets.
pub fn many_prefixes(count: usize) -> Vec<String> {
    let others = (1..count).map(|number| format!("2001:db8:{number:x}::/48"));
    others.chain(["fd00::/64".to_owned()]).collect()
}

/// Filters for the addresses of the packets alone.
pub fn own() -> Result<Box<Filters>, Box<dyn Error>> {
    filters(&["10.0.0.2/32", "fd00::2/128"])
}

/// The program.
pub fn fd<'a>(program: &'a TcpBounceSkel) -> BorrowedFd<'a> {
    program.progs.tcp_bounce.as_fd()
}

/// Measures all packets.
pub fn report(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    report.section(
        "In the kernel",
        "What a packet costs above the zero, a program that returns `XDP_TX` at once; each packet is written anew. The last two columns: \
         the instructions that the verifier left of the program, and how many it went over to accept it, of a million that it \
         allows.",
    );
    syn(report, peers)?;
    told(report, peers)?;
    others(report, peers)?;
    later(report, peers)
}

/// Linux's SYN.
fn syn(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    let (settings, own, keyed) = (settings(), own()?, Isn::Keyed(KEY));
    let mut sparing = own.clone();
    (0..100).for_each(|port| sparing.excluded_ports.insert(port));
    let prefixes = filters(&many_prefixes(1000))?;
    let default = load(settings, &own)?;
    let sparing = load(settings, &sparing)?;
    let takeover = load(ProgramSettings { takeover: true, filters_destinations: false, ..settings }, &own)?;
    let keyed_isn = load(ProgramSettings { isn: keyed, ..settings }, &own)?;
    let filtering = load_elsewhere(ProgramSettings { filters_sources: true, ..settings }, &prefixes)?;
    let following = load(
        ProgramSettings { isn: keyed, actions: ActionSet::only(Action::Ignore).with(Action::Echo), ..settings },
        &own,
    )?;
    let everything = load_elsewhere(ProgramSettings { isn: keyed, filters_sources: true, ..settings }, &prefixes)?;

    let [syn, syn_v6, tagged] = [LINUX_SYN, LINUX_SYN_V6, TAGGED_LINUX_SYN_V6].map(|hex| Wrapper::new(&packet(hex)));
    let peers = peers.load()?;
    let mut cases = vec![
        Case::new("floor: swap the MACs", &syn, syn.program("swap_macs")?, TX)?,
        Case::new("**tcp-bounce**", &syn, fd(&default), TX)?,
        Case::new("with 100 ports spared", &syn, fd(&sparing), TX)?,
        Case::new("`--takeover`", &syn, fd(&takeover), TX)?,
        Case::new("`--isn keyed`", &syn, fd(&keyed_isn), TX)?,
        Case::new("`--then echo:7`, to another port", &syn, fd(&following), TX)?,
        Case::new("over IPv6", &syn_v6, fd(&default), TX)?,
        Case::new("over IPv6, `--to` and `--from` with 1000 prefixes each", &syn_v6, fd(&filtering), TX)?,
        Case::new("everything on: the same, `--isn keyed`, two VLAN tags", &tagged, fd(&everything), TX)?,
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
    // What is hardly more than nothing is measured badly, turn by turn.
    report.at_most("in the kernel: of the floor", 4.0, "", bounce.cost() / floor.cost());
    Ok(())
}

/// Measures these, and the article's program on Linux's SYN, if it is there.
fn compare(report: &mut Report, title: &str, cases: Vec<Case>, peers: &Peers) -> Result<(), Box<dyn Error>> {
    let (article, syn) = (peers.load_article()?, Wrapper::new(&packet(LINUX_SYN)));
    let mut cases: Vec<Case> = cases;
    if let Some(object) = &article {
        cases.push(Case::new(ARTICLE, &syn, peer::program(object), TX)?);
    }
    measure(&mut cases)?;
    table(report, title, &cases, ARTICLE);
    Ok(())
}

/// What is told of a SYN besides the counters.
fn told(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    let (own, syn) = (own()?, Wrapper::new(&packet(LINUX_SYN)));
    let observing = |observe| load(ProgramSettings { telemetry: observe, ..settings() }, &own);
    let (stripes, shared) = client_tables::stripes()?;
    let nothing = TelemetrySettings { stripes, shared, ..TelemetrySettings::default() };
    let default = load(settings(), &own)?;
    let by_port = observing(TelemetrySettings { ports: true, ..nothing })?;
    let by_source = observing(TelemetrySettings { sources: true, ..nothing })?;
    let by_both = observing(TelemetrySettings { ports: true, sources: true, ..nothing })?;
    let events = observing(TelemetrySettings { events: 1, ..nothing })?;
    let sampled = observing(TelemetrySettings { events: 1000, ..nothing })?;
    let mut reader = EventReader::default();
    for program in [&events, &sampled] {
        reader.read(program, "", drop)?;
    }
    let cases = vec![
        Case::new("counters only", &syn, fd(&default), TX)?,
        Case::new("counted by port", &syn, fd(&by_port), TX)?,
        Case::new("counted by source", &syn, fd(&by_source), TX)?,
        Case::new("counted by port and by source (`--top`)", &syn, fd(&by_both), TX)?,
        Case::new("events, 1 in 1000", &syn, fd(&sampled), TX)?,
        Case::new("events, 1 in 1 (`--events`)", &syn, fd(&events), TX)?,
    ];
    compare(report, "what is told of it", cases, peers)?;
    reader.finish();
    let EventCounts { delivered, dropped, .. } = event_ring::counts(&events)?;
    let lost = percent(dropped as f64 / (delivered + dropped) as f64);
    report.paragraph(&format!("Of the events, 1 in 1, {lost} were lost, with the reader on another CPU."));
    Ok(())
}

/// Packets other than Linux's SYN.
fn others(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    let default = load(settings(), &*own()?)?;
    let others = OTHERS.map(|(name, action, hex)| (name, action, Wrapper::new(&packet(hex))));
    let cases = others.iter().map(|(name, action, wrapper)| Case::new(name, wrapper, fd(&default), *action));
    compare(report, "other packets (the article's: Linux's SYN)", cases.collect::<Result<_, _>>()?, peers)
}

/// What follows the handshake.
fn later(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    let (settings, own, keyed) = (settings(), own()?, Isn::Keyed(KEY));
    let later = LATER.map(|(mode, name, action, hex)| {
        let mut packet = packet(hex);
        let isn = if mode.follows_client() { keyed } else { settings.isn };
        if mode.follows_client() {
            acknowledge(&mut packet);
        }
        let program = load(ProgramSettings { actions: ActionSet::only(mode), isn, ..settings }, &own)?;
        Ok::<_, Box<dyn Error>>((name, action, Wrapper::new(&packet), program))
    });
    let later = later.into_iter().collect::<Result<Vec<_>, _>>()?;
    let cases = later.iter().map(|(name, action, wrapper, program)| Case::new(name, wrapper, fd(program), *action));
    compare(report, "after the handshake (the article's: Linux's SYN)", cases.collect::<Result<_, _>>()?, peers)
}
