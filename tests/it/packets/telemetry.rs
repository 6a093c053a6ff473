//! Events and client tables of the loaded program.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::sync::{Arc, Mutex};
use std::thread;

use libbpf_rs::libbpf_sys::{bpf_prog_test_run_opts, bpf_test_run_opts};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use tcp_bounce::internals::client_tables::{ExcludedSyns, PortTable, SourceTable};
use tcp_bounce::internals::loader::ProgramInputs;
use tcp_bounce::internals::{EventReader, event_ring};
use tcp_bounce::internals::{loader, skel::TcpBounceSkel};
use tcp_bounce_wire::{ActionByPort, Bucket, TelemetrySettings};

use crate::fixtures::amount;
use crate::fixtures::machine::MachineLock;
use crate::fixtures::packet::{ACK, Choice, FIN, RST, Request, SYN, Setup, port_set, test_run};

const STRIPES: u32 = 4;
const NOTHING: TelemetrySettings =
    TelemetrySettings { ports: false, sources: false, events: 0, stripes: STRIPES, shared: false, data: 0 };

/// Loads the program. The caller must hold a [`MachineLock`].
fn load(telemetry: TelemetrySettings) -> TcpBounceSkel<'static> {
    load_setup(&Setup { telemetry, ..Setup::new(Choice::DEFAULT) })
}

/// Loads the program with the settings and filters of `setup`. The caller must hold a [`MachineLock`].
fn load_setup(setup: &Setup) -> TcpBounceSkel<'static> {
    let inputs = ProgramInputs {
        settings: setup.settings(),
        interface: &setup.settings.interface(),
        filters: &setup.filters,
        actions: &ActionByPort::new(),
        services: None,
    };
    loader::load(&inputs, None).unwrap()
}

fn run(program: &TcpBounceSkel, request: &Request) {
    test_run(&program.progs.tcp_bounce, &request.frame());
}

#[test]
#[ignore = "needs root: loads BPF programs"]
fn counts_clients_by_port_and_source() {
    let _machine = MachineLock::shared();
    let program = load(TelemetrySettings { ports: true, sources: true, ..NOTHING });
    let table = PortTable::new(&program, STRIPES).unwrap();
    let mut expected = BTreeMap::new();
    for round in 0..100u8 {
        let source = [192, 0, 2, round % 7];
        let port = [0, 80, 443, 65535][usize::from(round % 4)];
        let change = |request: Request| Request { source, destination_port: port, ..request };
        run(&program, &change(Request::syn()));
        let (syns, completed) = expected.entry((port, source)).or_insert((0, 0));
        *syns += 1;
        if round % 3 == 0 {
            run(&program, &change(Request::ack()));
            *completed += 1;
            run(&program, &change(Request { flags: ACK | FIN, ..Request::ack() }));
        }
        // A FIN after the last ACK, a RST, an ACK of another connection and a UDP packet are not counted.
        run(&program, &change(Request { flags: ACK | RST, ..Request::ack() }));
        run(&program, &change(Request { acknowledgment_number: 5, ..Request::ack() }));
        run(&program, &change(Request { protocol: 17, ..Request::syn() }));
    }
    for port in 0..=u16::MAX {
        let at_port = expected.iter().filter(|((other, _), _)| *other == port);
        let (syns, completed) = at_port.fold((0, 0), |(a, b), (_, (c, d))| (a + c, b + d));
        let count = table.get(port);
        assert_eq!((count.syns, count.completed), (syns, completed), "{port}");
    }
    let mut counted = BTreeMap::new();
    assert!(!SourceTable::new(&program, STRIPES).unwrap().add_to(&mut counted), "no client was evicted");
    assert_eq!(counted.len(), 7);
    for last in 0..7 {
        let of_source = expected.iter().filter(|((_, source), _)| source[3] == last);
        let (syns, completed) = of_source.fold((0, 0), |(a, b), (_, (c, d))| (a + c, b + d));
        let count = counted[&IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))];
        assert_eq!((count.syns, count.completed), (syns, completed), "{last}");
    }
}

#[test]
#[ignore = "needs root: loads BPF programs"]
fn counts_syns_to_excluded_ports() {
    let _machine = MachineLock::shared();
    let mut setup = Setup::new(Choice::DEFAULT);
    setup.filters.excluded_ports = port_set([22, 65535]);
    setup.telemetry = TelemetrySettings { ports: true, sources: true, events: 1, ..NOTHING };
    let program = load_setup(&setup);
    let syn = |destination_port| Request { destination_port, ..Request::syn() };
    for request in [
        syn(22),
        syn(22).over_ipv6(),
        syn(22).twice_tagged(),
        syn(65535),
        // These are not counted: no SYNs, or no excluded port.
        Request { destination_port: 22, ..Request::ack() },
        Request { flags: SYN | ACK, ..syn(22) },
        Request { protocol: 17, ..syn(22) },
        syn(80),
    ] {
        run(&program, &request);
    }
    let (excluded, answered) = (ExcludedSyns::new(&program).unwrap(), PortTable::new(&program, STRIPES).unwrap());
    for port in 0..=u16::MAX {
        let expected = match port {
            22 => (3, 0),
            65535 => (1, 0),
            80 => (0, 1),
            _ => (0, 0),
        };
        assert_eq!((excluded.get(port), answered.get(port).syns), expected, "{port}");
    }
    assert_eq!(event_ring::counts(&program).unwrap().seen, 1, "a SYN to an excluded port is no client event");
    let mut clients = BTreeMap::new();
    SourceTable::new(&program, STRIPES).unwrap().add_to(&mut clients);
    assert_eq!(clients.values().map(|counts| counts.syns).sum::<u64>(), 1);
}

/// Sends `requests` through a program that reports one event in `one_in`. Returns the reported events as text without
/// their times, and the number of all events.
fn client_events(one_in: u32, requests: &[Request]) -> (Vec<String>, u64) {
    client_events_of(TelemetrySettings { events: one_in, ..NOTHING }, requests)
}

/// Sends `requests` through a program with this telemetry. Returns the reported events as text without their times, and
/// the number of all events.
fn client_events_of(telemetry: TelemetrySettings, requests: &[Request]) -> (Vec<String>, u64) {
    let program = load(telemetry);
    let events_read = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events_read);
    let mut reader = EventReader::default();
    reader.read(&program, "lo", move |new_events| sink.lock().unwrap().extend(new_events)).unwrap();
    requests.iter().for_each(|request| run(&program, request));
    let delivered = reader.finish();
    let events_read = events_read.lock().unwrap();
    assert_eq!(delivered, events_read.len() as u64);
    assert_eq!(event_ring::counts(&program).unwrap().dropped, 0);
    let words = events_read.iter().map(|event| event.to_string().split_once(' ').unwrap().1.to_owned());
    (words.collect(), event_ring::counts(&program).unwrap().seen)
}

/// Checks the lengths around the limit, up to the largest one.
#[test]
#[ignore = "needs root: loads BPF programs"]
fn first_data_of_a_client_is_an_event() {
    let _machine = MachineLock::shared();
    for limit in [1, 7, 64, 1024] {
        let telemetry = TelemetrySettings { events: 1, data: limit, ..NOTHING };
        let lengths = [1, 7, 8, 9, 63, 64, 65, 1023, 1024, 1400];
        let payload = |length: usize| (0..length).map(|index| b'a' + (index % 26) as u8).collect::<Vec<u8>>();
        let connection = |(index, length): (usize, usize)| {
            let syn = Request { source_port: 1000 + index as u16, destination_port: 80, ..Request::syn() };
            let syn = if index % 2 == 0 { syn } else { syn.over_ipv6().tagged() };
            let data = Request {
                flags: ACK,
                acknowledgment_number: Request::ack().acknowledgment_number,
                payload: payload(length),
                ..syn.clone()
            };
            [syn, data.clone(), data]
        };
        let requests: Vec<Request> = lengths.into_iter().enumerate().flat_map(connection).collect();
        let (events, _) = client_events_of(telemetry, &requests);
        let data: Vec<&str> =
            events.iter().filter_map(|event| event.split_once(" data ")).map(|(_, data)| data).collect();
        let expected = lengths.map(|length| {
            let copied = length.min(limit as usize);
            let text = String::from_utf8(payload(copied)).unwrap();
            if copied < length { format!("\"{text}\"...") } else { format!("\"{text}\"") }
        });
        assert_eq!(data, expected, "{limit}");
    }
}

#[test]
#[ignore = "needs root: loads BPF programs"]
fn each_client_action_is_an_event() {
    let _machine = MachineLock::shared();
    let one = Request { source: [192, 0, 2, 9], source_port: 1000, destination_port: 80, ..Request::syn() };
    let later = |flags| Request { flags, ..one.clone() };
    let acknowledging = |flags| Request { acknowledgment_number: Request::ack().acknowledgment_number, ..later(flags) };
    let requests = [
        one.clone(),
        acknowledging(ACK),
        // Data alone causes no event.
        Request { payload: b"data".to_vec(), ..acknowledging(ACK) },
        acknowledging(ACK | FIN),
        acknowledging(ACK | RST),
        // A FIN that acknowledges no SYN-ACK of the program causes no event.
        later(ACK | FIN),
        one.clone().over_ipv6(),
        Request { ip_options: vec![1; 8], ..one.clone() }.twice_tagged(),
    ];
    let there = "192.0.2.9:1000 > 198.51.100.7:80";
    let (events_read, seen) = client_events(1, &requests);
    let expected = [
        format!("lo {there} syn"),
        format!("lo {there} completed"),
        format!("lo {there} disconnected"),
        format!("lo {there} disconnected"),
        "lo [2001:db8::a]:1000 > [2001:db8::7]:80 syn".to_owned(),
        format!("lo {there} syn"),
    ];
    assert_eq!(events_read, expected);
    assert_eq!(seen, 6);
}

#[test]
#[ignore = "needs root: loads BPF programs"]
fn sampling_reports_one_event_in_n() {
    let _machine = MachineLock::shared();
    let requests: Vec<Request> = (0..100).map(|port| Request { source_port: port, ..Request::syn() }).collect();
    let (events_read, seen) = client_events(10, &requests);
    assert_eq!(seen, 100);
    // Each CPU samples independently, so each may report one event more.
    let cpus = thread::available_parallelism().unwrap().get();
    assert!((10..=10 + cpus).contains(&events_read.len()), "{events_read:?}");
}

/// Runs a program, given by its descriptor, on `frame`. Any thread may use the descriptor.
fn run_anywhere(program: BorrowedFd, frame: &[u8]) {
    let mut options = bpf_test_run_opts {
        sz: size_of::<bpf_test_run_opts>() as _,
        data_in: frame.as_ptr().cast(),
        data_size_in: frame.len() as u32,
        ..Default::default()
    };
    // SAFETY: The program and the frame outlive the call, and the kernel writes to neither.
    assert_eq!(unsafe { bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut options) }, 0);
}

/// Checks counts of SYNs that all CPUs process at once.
#[test]
#[ignore = "needs root: loads BPF programs"]
fn counts_are_exact_on_all_cpus() {
    let _machine = MachineLock::shared();
    const SOURCES: u32 = 1000;
    let syns = amount("COUNTED_SYNS", 200_000, 1_000_000) as u32;
    let stripes = thread::available_parallelism().unwrap().get().next_power_of_two() as u32;
    let program = count_syns(TelemetrySettings { ports: true, sources: true, stripes, ..NOTHING }, SOURCES, syns);
    assert_eq!(at_ports(&program, stripes), u64::from(syns));
    let mut counted = BTreeMap::new();
    assert!(!SourceTable::new(&program, stripes).unwrap().add_to(&mut counted), "no client was evicted");
    assert_eq!(counted.len(), SOURCES as usize);
    assert!(counted.values().all(|count| count.syns == u64::from(syns / SOURCES)));

    // The count for each port is also exact when CPUs share a stripe.
    let program = count_syns(TelemetrySettings { ports: true, stripes: 1, shared: true, ..NOTHING }, SOURCES, syns);
    assert_eq!(at_ports(&program, 1), u64::from(syns));
}

/// Returns the number of SYNs to ports 1 to 10, and checks that each port has an equal share.
fn at_ports(program: &TcpBounceSkel, stripes: u32) -> u64 {
    let table = PortTable::new(program, stripes).unwrap();
    let syns: Vec<u64> = (1..=10).map(|port| table.get(port).syns).collect();
    assert!(syns.iter().all(|&count| count == syns[0]), "{syns:?}");
    syns.iter().sum()
}

/// Loads a program, and sends `syns` SYNs of `sources` clients through it, on all CPUs at once. Returns the program.
fn count_syns(telemetry: TelemetrySettings, sources: u32, syns: u32) -> TcpBounceSkel<'static> {
    let program = load(telemetry);
    let frames: Vec<Vec<u8>> = (0..sources)
        .map(|source| {
            let [.., third, last] = source.to_be_bytes();
            let destination_port = 1 + source as u16 % 10;
            Request { source: [10, 0, third, last], destination_port, ..Request::syn() }.frame()
        })
        .collect();
    let cpus: Vec<usize> = (0..thread::available_parallelism().unwrap().get()).collect();
    let prog = program.progs.tcp_bounce.as_fd();
    thread::scope(|scope| {
        for &cpu in &cpus {
            let (frames, cpus) = (&frames, cpus.len());
            scope.spawn(move || {
                let mut one = CpuSet::new();
                one.set(cpu).unwrap();
                sched_setaffinity(Pid::from_raw(0), &one).unwrap();
                for syn in (cpu..syns as usize).step_by(cpus) {
                    run_anywhere(prog, &frames[syn % frames.len()]);
                }
            });
        }
    });
    program
}

/// Checks that frequent clients stay in the client table, which has a fixed size, during a flood from forged sources.
#[test]
#[ignore = "needs root: loads BPF programs"]
fn forged_clients_evict_no_frequent_client() {
    let _machine = MachineLock::shared();
    const REGULARS: u32 = 100;

    let count = amount("FORGED_CLIENTS", 1_000_000, 10_000_000) as u32;
    let stripes = thread::available_parallelism().unwrap().get().next_power_of_two() as u32;
    let telemetry = TelemetrySettings { sources: true, stripes, ..NOTHING };
    let program = count_syns(telemetry, REGULARS, REGULARS * 100);
    let prog = program.progs.tcp_bounce.as_fd();
    thread::scope(|scope| {
        for cpu in 0..stripes {
            scope.spawn(move || {
                let mut frame = Request::syn().frame();
                for forged in (cpu..count).step_by(stripes as usize) {
                    // Replace the source address in the IPv4 header. The program does not read the header's checksum.
                    frame[26..30].copy_from_slice(&(0x2000_0000 + forged).to_be_bytes());
                    run_anywhere(prog, &frame);
                }
            });
        }
    });
    let table = SourceTable::new(&program, stripes).unwrap();
    let mut counted = BTreeMap::new();
    assert!(table.add_to(&mut counted), "some clients were evicted, and the table reports that");
    assert!(counted.len() <= Bucket::COUNT * 4 * stripes as usize);
    for last in 0..REGULARS as u8 {
        assert_eq!(counted[&IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))].syns, 100, "{last}");
    }
}
