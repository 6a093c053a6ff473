//! Measures the cost of a packet in the XDP program, by test runs (`BPF_PROG_TEST_RUN`).
//!
//! A wrapper runs each program, and the cost of the wrapper is subtracted.

use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, BorrowedFd};

use tcp_bounce::internals::loader::{ProgramInputs, ServiceTables};
use tcp_bounce::internals::prefixes::ranges;
use tcp_bounce::internals::skel::TcpBounceSkel;
use tcp_bounce::internals::{EventReader, event_ring};
use tcp_bounce::internals::{client_tables, loader};
use tcp_bounce_wire::address::{Ipv4Address, Ipv6Address, Mac};
use tcp_bounce_wire::{
    Action, ActionByPort, ActionSet, Ending, EventCounts, Filters, InterfaceState, Isn, ProgramSettings, ReplySettings,
    TelemetrySettings,
};
use zerocopy::FromZeros as _;

use crate::fixtures::flood::cpus;
use crate::fixtures::packet::{Choice, Setup, TestService, assume_no_sockets, service_tables};
use crate::packets::{
    ANSWERED, DROP, GET, KEY, LAST_ACK, LAST_ACK_V6, LINUX_SYN, LINUX_SYN_V6, OTHERS, TAGGED_LINUX_SYN_V6, TX,
    acknowledge_keyed, acknowledge_service, packet,
};
use crate::peer::{self, Peers};
use crate::report::{Report, percent, rounded, row};
use crate::wrapper::{Case, Costs, Wrapper, measure, on_cpu, table};

/// The title of the section, in which the chart finds its figures.
pub const SECTION: &str = "In the kernel";
/// The header of the first column of the table that the chart shows.
pub const HANDSHAKE: &str = "a Linux client's handshake";

const ARTICLE: &str = "the article's program";
/// The number of SYNs in the measurement of dropped events, a million in a second.
const PACED_SYNS: u32 = 5_000_000;
/// The name of the article's program in tables with other packets than Linux's SYN.
const ARTICLE_SYN: &str = "the article's program: Linux's SYN";
const MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);

/// The banner and the page of the service in the benchmarks.
const BANNER: &[u8; 40] = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n";
const PAGE: &[u8; 200] = &[b'x'; 200];

/// Returns the settings that the command uses by default, but without multi-buffer support (`frags`).
///
/// A wrapper can tail-call only programs with the same `frags` flag, and the other programs in the comparison lack it.
pub fn settings() -> ProgramSettings {
    ProgramSettings { checks_mac: true, filters_destinations: true, ..ProgramSettings::DEFAULT }
}

/// Loads tcp-bounce for an interface whose primary addresses are the packets' destinations, so that it searches no
/// prefixes.
pub fn load(settings: ProgramSettings, filters: &Filters) -> Result<TcpBounceSkel<'static>, Box<dyn Error>> {
    load_program(&primary(), settings, filters, None)
}

/// Returns the state of an interface whose primary addresses are the packets' destinations.
fn primary() -> InterfaceState {
    let (v4, v6) = (Ipv4Addr::new(10, 0, 0, 2), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));
    let link = InterfaceState::new(MAC, &ReplySettings::DEFAULT);
    link.with_primary_addresses(Ipv4Address(v4.octets()), Ipv6Address(v6.octets()))
}

/// Loads tcp-bounce like [`load`], with a service on all ports and a keyed ISN.
fn load_serving(settings: ProgramSettings, filters: &Filters) -> Result<TcpBounceSkel<'static>, Box<dyn Error>> {
    let setup = Setup::serving(TestService::new(BANNER, &[(b"GET ", PAGE)], Ending::Stay), Choice::DEFAULT);
    let settings = ProgramSettings { isn: Isn::Keyed(KEY), actions: ActionSet::only(Action::Serve), ..settings };
    load_program(&primary(), settings, filters, service_tables(&setup).as_ref())
}

/// Loads tcp-bounce for an interface without primary addresses, so that it has to search the prefixes.
pub fn load_searching(settings: ProgramSettings, filters: &Filters) -> Result<TcpBounceSkel<'static>, Box<dyn Error>> {
    load_program(&InterfaceState::new(MAC, &ReplySettings::DEFAULT), settings, filters, None)
}

fn load_program(
    interface: &InterfaceState,
    settings: ProgramSettings,
    filters: &Filters,
    services: Option<&ServiceTables>,
) -> Result<TcpBounceSkel<'static>, Box<dyn Error>> {
    let actions = ActionByPort::new_box_zeroed().map_err(|_| "no memory")?;
    let program = loader::load(&ProgramInputs { settings, interface, filters, actions: &actions, services }, None)?;
    prepare(&program);
    Ok(program)
}

/// Prepares a loaded program for measurements.
fn prepare(program: &TcpBounceSkel) {
    assume_no_sockets(program);
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

/// Measures SYNs, handshakes, telemetry, other packets, and segments after the handshake.
pub fn report(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    report.section(
        SECTION,
        "The cost of a packet above the zero, a program that returns `XDP_TX` at once. Each packet is written anew. \
         The last two columns count the instructions that the verifier left in the program, and those that it \
         processed (at most a million).",
    );
    syn(report, peers)?;
    handshake(report, peers)?;
    last_ack(report, peers)?;
    telemetry(report, peers)?;
    other_packets(report, peers)?;
    answered(report, peers)
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
    let serving = load_serving(settings, &own)?;
    let everything = load_searching(ProgramSettings { isn: keyed, filters_sources: true, ..settings }, &prefixes)?;

    let [syn, syn_v6, tagged] = [LINUX_SYN, LINUX_SYN_V6, TAGGED_LINUX_SYN_V6].map(packet);
    let floor = Wrapper::new(&syn);
    let mut cases = vec![
        Case::new("floor: swap the MACs", &syn, floor.program("swap_macs")?, TX)?,
        Case::new("**tcp-bounce**", &syn, fd(&default), TX)?,
        Case::new("with 100 excluded ports", &syn, fd(&excluding), TX)?,
        Case::new("`--takeover`", &syn, fd(&takeover), TX)?,
        Case::new("`--isn keyed`", &syn, fd(&keyed_isn), TX)?,
        Case::new("`--on-connect echo:7`, to another port", &syn, fd(&echoing), TX)?.at_most(14.0),
        Case::new("`--profile`", &syn, fd(&serving), TX)?.at_most(20.0),
        Case::new("over IPv6", &syn_v6, fd(&default), TX)?,
        Case::new("over IPv6, `--dst` and `--src` with 1000 prefixes each", &syn_v6, fd(&filtering), TX)?,
        Case::new("everything on: these prefixes, `--isn keyed`, two VLAN tags", &tagged, fd(&everything), TX)?,
    ];
    let everything = cases.len() - 1;
    for (name, object) in &peers.load()? {
        cases.push(Case::new(name, &syn, peer::program(object), TX)?);
    }
    measure(&mut cases)?;
    table(report, "Linux's SYN", &cases, ARTICLE);
    let (floor, bounce, everything) = (cases[0].costs(), &cases[1], cases[everything].costs());
    if let Some(article) = cases.iter().find(|case| case.name() == ARTICLE) {
        report.at_most("Linux's SYN: of the article's program", 0.27, "", bounce.costs().ratio(article.costs()));
        report.at_most("everything on: of the article's program", 1.0, "", everything.ratio(article.costs()));
    }
    // Uses the ratio of the medians, not the median of the ratios. The floor costs so little that the ratio of a turn
    // varies widely.
    report.at_most("Linux's SYN: of the floor", 4.0, "", bounce.costs().median() / floor.median());
    report.at_most("instructions that the verifier processes", 45_000.0, "", bounce.verified().into());
    Ok(())
}

/// Measures the handshake of a Linux client, SYN and last ACK, in tcp-bounce and in the article's program.
fn handshake(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    let default = load(settings(), &*own_addresses()?)?;
    let article = peers.load_article()?;
    let programs: Vec<_> = [fd(&default)].into_iter().chain(article.iter().map(peer::program)).collect();
    let [syn, last_ack] = [LINUX_SYN, LAST_ACK].map(packet);
    let mut cases = Vec::new();
    for &program in &programs {
        cases.extend([Case::new("SYN", &syn, program, TX)?, Case::new("last ACK", &last_ack, program, DROP)?]);
    }
    measure(&mut cases)?;
    let whole: Vec<_> = cases.chunks(2).map(|program| program[0].costs().plus(program[1].costs())).collect();
    let rows = [
        ("SYN", cases[0].costs(), cases.get(2).map(Case::costs)),
        ("last ACK", cases[1].costs(), cases.get(3).map(Case::costs)),
        ("**whole handshake**", &whole[0], whole.get(1)),
    ];
    report.table(
        &[HANDSHAKE, "tcp-bounce, ns", "the article's program, ns", "of the article's"],
        rows.map(|(name, own, article)| {
            let figures = |article: &Costs| [article.median(), own.ratio(article)].map(rounded);
            let [article, ratio] = article.map_or_else(|| ["-", "-"].map(str::to_owned), figures);
            row(name, [rounded(own.median()), article, ratio])
        }),
    );
    if let [own, article] = &whole[..] {
        report.at_most("whole handshake: of the article's program", 0.6, "", own.ratio(article));
    }
    Ok(())
}

/// Measures the last ACK of a handshake in each mode without an answer.
fn last_ack(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    let (default, own) = (settings(), own_addresses()?);
    let keyed = ProgramSettings { isn: Isn::Keyed(KEY), ..default };
    let only = |action, settings| ProgramSettings { actions: ActionSet::only(action), ..settings };
    let other =
        |action, settings| ProgramSettings { actions: ActionSet::only(Action::Ignore).with(action), ..settings };
    let takeover = ProgramSettings { takeover: true, filters_destinations: false, ..default };
    let [ack, ack_v6, mut ack_keyed, mut ack_following] = [LAST_ACK, LAST_ACK_V6, LAST_ACK, LAST_ACK].map(packet);
    acknowledge_keyed(&mut ack_keyed, false);
    acknowledge_keyed(&mut ack_following, true);
    let cases = [
        ("default", &ack, default, 15.0),
        ("default, over IPv6", &ack_v6, default, 15.0),
        ("`--isn keyed`", &ack_keyed, keyed, 15.0),
        ("`--on-connect discard`", &ack, only(Action::Discard, default), 15.0),
        ("`--on-connect echo`", &ack_following, only(Action::Echo, keyed), 15.0),
        ("`--on-connect tarpit`", &ack_following, only(Action::Tarpit, keyed), 15.0),
        ("`--on-connect close:7`, to another port", &ack, other(Action::Close, default), 15.0),
        ("`--on-connect echo:7`, to another port", &ack_keyed, other(Action::Echo, keyed), 15.0),
        ("`--takeover`", &ack, takeover, 10.0),
    ];
    let case = |(name, packet, settings, limit): (_, &Vec<u8>, _, _)| {
        Ok::<_, Box<dyn Error>>(Case::new(name, packet, fd(&load(settings, &own)?), DROP)?.at_most(limit))
    };
    let mut cases = cases.into_iter().map(case).collect::<Result<Vec<_>, _>>()?;
    if let Some(object) = peers.load_article()? {
        cases.push(Case::new(ARTICLE, &ack, peer::program(&object), DROP)?);
    }
    compare(report, "last ACK", cases, peers)?;
    Ok(())
}

/// Measures and reports the cases and, if it is available, the article's program with a Linux client's SYN.
fn compare(report: &mut Report, title: &str, mut cases: Vec<Case>, peers: &Peers) -> Result<Vec<Case>, Box<dyn Error>> {
    if let Some(object) = peers.load_article()? {
        cases.push(Case::new(ARTICLE_SYN, &packet(LINUX_SYN), peer::program(&object), TX)?);
    }
    measure(&mut cases)?;
    table(report, title, &cases, ARTICLE_SYN);
    Ok(cases)
}

/// Measures the cost of answering a Linux client's SYN with each kind of telemetry.
fn telemetry(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    let (own, syn) = (own_addresses()?, packet(LINUX_SYN));
    let load_with = |telemetry| load(ProgramSettings { telemetry, ..settings() }, &own);
    let (stripes, shared) = client_tables::stripes()?;
    let nothing = TelemetrySettings { stripes, shared, ..TelemetrySettings::default() };
    let default = load(settings(), &own)?;
    let by_port = load_with(TelemetrySettings { ports: true, ..nothing })?;
    let by_source = load_with(TelemetrySettings { sources: true, ..nothing })?;
    let by_both = load_with(TelemetrySettings { ports: true, sources: true, ..nothing })?;
    let sampled = load_with(TelemetrySettings { events: 1000, ..nothing })?;
    let events = load_with(TelemetrySettings { events: 1, ..nothing })?;
    let mut reader = EventReader::default();
    // The programs run on the first CPU.
    let last_cpu = cpus().pop().ok_or("no CPU")?;
    on_cpu(last_cpu, || Ok([&events, &sampled].into_iter().try_for_each(|program| reader.read(program, "", drop))?))?;
    let cases = vec![
        Case::new("counters only", &syn, fd(&default), TX)?,
        Case::new("counted by port", &syn, fd(&by_port), TX)?,
        Case::new("counted by source", &syn, fd(&by_source), TX)?,
        Case::new("counted by port and by source (`--top-talkers`)", &syn, fd(&by_both), TX)?,
        Case::new("events, 1 in 1000", &syn, fd(&sampled), TX)?,
        Case::new("events, 1 in 1 (`--events`)", &syn, fd(&events), TX)?,
    ];
    let cases = compare(report, "telemetry", cases, peers)?;
    let (default, events_case) = (&cases[0], &cases[5]);
    report.at_most("`--events`: an event, above the default", 80.0, " ns", events_case.costs().above(default.costs()));
    let EventCounts { delivered, dropped, .. } = event_ring::counts(&events)?;
    let share = percent(dropped as f64 / (delivered + dropped) as f64);
    report.paragraph(&format!("With `--events`, {share} of the events were dropped. The reader ran on another CPU."));
    dropped_events(report, events_case, &events)?;
    reader.finish();
    Ok(())
}

/// Measures how many events are dropped at a million SYNs a second on one CPU, while a reader runs on another one.
fn dropped_events(report: &mut Report, case: &Case, program: &TcpBounceSkel) -> Result<(), Box<dyn Error>> {
    let before = event_ring::counts(program)?;
    let rate = case.pace(PACED_SYNS)?;
    let dropped = event_ring::counts(program)?.dropped - before.dropped;
    report.paragraph(&format!(
        "In another run, one CPU received {} million SYNs per second. {dropped} of {PACED_SYNS} events were dropped. The \
         reader ran on another CPU.",
        rounded(rate),
    ));
    report.at_least("`--events`: SYNs per second on one CPU, for the next line", 0.95, " million", rate);
    report.at_most("`--events`: dropped events at this rate", 0.0, "", dropped as f64);
    Ok(())
}

/// Measures packets other than a Linux client's SYN.
fn other_packets(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    let default = load(settings(), &*own_addresses()?)?;
    let cases = OTHERS.map(|(name, limit, action, hex)| {
        let case = Case::new(name, &packet(hex), fd(&default), action)?;
        Ok::<_, Box<dyn Error>>(limit.into_iter().fold(case, Case::at_most))
    });
    compare(report, "other packets", cases.into_iter().collect::<Result<_, _>>()?, peers)?;
    Ok(())
}

/// Measures segments after the handshake that are answered, with each post-handshake action.
fn answered(report: &mut Report, peers: &Peers) -> Result<(), Box<dyn Error>> {
    let (settings, own, keyed) = (settings(), own_addresses()?, Isn::Keyed(KEY));
    let cases = ANSWERED.map(|(action, name, hex)| {
        let mut packet = packet(hex);
        let isn = if action.follows_client() { keyed } else { settings.isn };
        if action.follows_client() {
            acknowledge_keyed(&mut packet, true);
        }
        let program = load(ProgramSettings { actions: ActionSet::only(action), isn, ..settings }, &own)?;
        Case::new(name, &packet, fd(&program), TX)
    });
    let serving = load_serving(settings, &own)?;
    let [mut last_ack, mut request] = [LAST_ACK, GET].map(packet);
    acknowledge_service(&mut last_ack, 0);
    acknowledge_service(&mut request, BANNER.len() as u32);
    let served = [
        Case::new("--profile: the last ACK, answered with a banner of 40 bytes", &last_ack, fd(&serving), TX)?
            .at_most(200.0),
        Case::new("--profile: a request of 48 bytes, answered with 200 bytes", &request, fd(&serving), TX)?
            .at_most(200.0),
    ];
    let cases = cases.into_iter().chain(served.map(Ok)).collect::<Result<_, _>>()?;
    compare(report, "answered segments after the handshake", cases, peers)?;
    Ok(())
}
