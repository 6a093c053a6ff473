//! What a packet costs in the kernel: `make bench`, as root.
//!
//! Each program runs behind the same wrapper, `restore` in `src/bpf/bench.rs`, which writes the packet anew for each
//! round. What the wrapper costs by itself, the zero, is taken off. The programs take turns, and the median of many
//! turns counts. Absolute times differ from machine to machine and from run to run: compare the ratios.
//!
//! `PEER_OBJ=FILE` names the object of another XDP program to compare with.

use std::error::Error;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::Path;
use std::{env, fs, process};

use etherparse::TcpSlice;
use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions};
use libbpf_rs::{MapCore as _, MapFlags, Object, ObjectBuilder, Program, ProgramInput};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, Uid};
use tcp_bounce::events::{self, Reader};
use tcp_bounce::prefixes::ranges;
use tcp_bounce::skel::TcpBounceSkel;
use tcp_bounce::{loader, tables};
use tcp_bounce_wire::ethernet::Mac;
use tcp_bounce_wire::ip::Ip as _;
use tcp_bounce_wire::ipv4::{self, Ipv4};
use tcp_bounce_wire::later::offset;
use tcp_bounce_wire::{EventCount, Filters, Isn, Link, Observe, Settings, Then, ThenByPort, Thens};
use zerocopy::{FromZeros as _, IntoBytes as _};

const TURNS: usize = 31;
const ROUNDS: u32 = 1_000_000;

/// Linux's SYN: MSS, SACK permitted, timestamps, window scale.
const LINUX_SYN: &str = "020000000002 020000000001 0800 \
    4500003c1c4640004006 0a70 0a000001 0a000002 \
    c350 1388 a1b2c3d4 00000000 a002faf0 b0a8 0000 020405b4 0402 080a1122334400000000 01 030307";
/// The same over IPv6.
const LINUX_SYN_V6: &str = "020000000002 020000000001 86dd \
    60012345 0028 06 40 fd000000000000000000000000000001 fd000000000000000000000000000002 \
    c350 1388 a1b2c3d4 00000000 a002faf0 b0a8 0000 020405a0 0402 080a1122334400000000 01 030307";
/// The same with two VLAN tags.
const TAGGED_LINUX_SYN_V6: &str = "020000000002 020000000001 88a8 0064 8100 002a 86dd \
    60012345 0028 06 40 fd000000000000000000000000000001 fd000000000000000000000000000002 \
    c350 1388 a1b2c3d4 00000000 a002faf0 b0a8 0000 020405a0 0402 080a1122334400000000 01 030307";

const KEY: [u8; 16] = *b"0123456789abcdef";

/// XDP actions.
const DROP: u32 = 1;
const PASS: u32 = 2;
const TX: u32 = 3;

/// Other packets: what they are, what becomes of them, and their bytes.
const OTHERS: [(&str, u32, &str); 5] = [
    (
        "SYN without options, 60 bytes",
        TX,
        "020000000002 020000000001 0800 \
        450000281c4640004006 0a84 0a000001 0a000002 c350 1388 a1b2c3d4 00000000 5002faf0 b0a8 0000 000000000000",
    ),
    (
        "SYN of macOS, 78 bytes",
        TX,
        "020000000002 020000000001 0800 \
        450000401c4640004006 0a6c 0a000001 0a000002 c350 1388 a1b2c3d4 00000000 b002ffff b0a8 0000 \
        020405b4 01 030306 01 01 080a1122334400000000 0402 0000",
    ),
    (
        "SYN without options, 54 bytes (grows)",
        TX,
        "020000000002 020000000001 0800 \
        450000281c4640004006 0a84 0a000001 0a000002 c350 1388 a1b2c3d4 00000000 5002faf0 b0a8 0000",
    ),
    (
        "SYN with 64 bytes of data (shrinks)",
        TX,
        "020000000002 020000000001 0800 \
        450000681c4640004006 0a44 0a000001 0a000002 c350 1388 a1b2c3d4 00000000 5002faf0 b0a8 0000 \
        00000000000000000000000000000000 00000000000000000000000000000000 \
        00000000000000000000000000000000 00000000000000000000000000000000",
    ),
    (
        "segment of the host's own connection",
        PASS,
        "020000000002 020000000001 0800 \
        450000341c4640004006 0a78 0a000001 0a000002 c350 1388 a1b2c3d5 12345678 801001f6 b0a8 0000 \
        01 01 080a1122334400000000",
    ),
];

/// Segments of connections that were bounced: the mode, what they are, what becomes of them, and their bytes.
const LATER: [(Then, &str, u32, &str); 7] = [
    (Then::Drop, "--then drop: the last ACK of the handshake", DROP, LAST_ACK),
    (Then::Reset, "--then reset: the same, answered with RST", TX, LAST_ACK),
    (Then::Close, "--then close: the same, answered with FIN", TX, LAST_ACK),
    (
        Then::Discard,
        "--then discard: FIN, answered with FIN",
        TX,
        "020000000002 020000000001 0800 \
        450000341c4640004006 0a78 0a000001 0a000002 c350 1388 a1b2c3d5 74637063 801101f6 b0a8 0000 \
        01 01 080a1122334455667788",
    ),
    (Then::Discard, "--then discard: 48 bytes, answered with ACK (shrinks)", TX, DATA),
    (Then::Echo, "--then echo: 48 bytes, and back", TX, DATA),
    (Then::Tarpit, "--then tarpit: 48 bytes, answered with ACK (shrinks)", TX, DATA),
];

/// It acknowledges the fixed ISN.
const LAST_ACK: &str = "020000000002 020000000001 0800 \
    450000341c4640004006 0a78 0a000001 0a000002 c350 1388 a1b2c3d5 74637063 801001f6 b0a8 0000 \
    01 01 080a1122334455667788";

const DATA: &str = "020000000002 020000000001 0800 \
    450000641c4640004006 0a48 0a000001 0a000002 c350 1388 a1b2c3d5 74637063 801801f6 b0a8 0000 \
    01 01 080a1122334455667788 \
    000000000000000000000000000000000000000000000000 000000000000000000000000000000000000000000000000";

fn main() {
    if let Err(error) = bench() {
        eprintln!("bench: {error}");
        process::exit(1);
    }
}

fn bench() -> Result<(), Box<dyn Error>> {
    if !Uid::effective().is_root() {
        return Err("it loads BPF programs: run it as root, `make bench`".into());
    }
    if fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled")?.trim() != "0" {
        return Err("the kernel measures too, which costs: sysctl kernel.bpf_stats_enabled=0".into());
    }
    let mut one_cpu = CpuSet::new();
    one_cpu.set(0)?;
    sched_setaffinity(Pid::from_raw(0), &one_cpu)?;

    let peer = env::var_os("PEER_OBJ").map(|file| load(Path::new(&file))).transpose()?;
    let peer = peer.as_ref().and_then(|peer| peer.progs().next());

    // As the command sets it, but for `frags`: a program without may not call one with, and the peer is one without.
    let settings = Settings { own_mac: true, filter_to: true, ..Settings::DEFAULT };
    let keyed = Isn::Keyed(KEY);
    let own = filters(&["10.0.0.2/32", "fd00::2/128"])?;
    let mut sparing = own.clone();
    (0..100).for_each(|port| sparing.spared.insert(port));
    let mut prefixes: Vec<String> = (0..999).map(|number| format!("2001:db8:{number:x}::/48")).collect();
    prefixes.push("fd00::/64".to_owned());
    let prefixes = filters(&prefixes)?;
    let mut link = Link::new(Mac([2, 0, 0, 0, 0, 2]), 1500, None, None);
    link.v4_address = ipv4::Address([10, 0, 0, 2]);
    link.v6_address.0[..2].copy_from_slice(&[0xfd, 0]);
    link.v6_address.0[15] = 2;

    let then = ThenByPort::new_box_zeroed().map_err(|_| "no memory")?;
    let load = |settings, filters: &Filters| loader::load(settings, &link, filters, &then, None);
    let default = load(settings, &own)?;
    let sparing = load(settings, &sparing)?;
    let takeover = load(Settings { takeover: true, filter_to: false, ..settings }, &own)?;
    let keyed_isn = load(Settings { isn: keyed, ..settings }, &own)?;
    let filtering = load(Settings { filter_from: true, ..settings }, &prefixes)?;
    let following = load(Settings { isn: keyed, then: Thens::only(Then::Drop).with(Then::Echo), ..settings }, &own)?;
    let everything = load(Settings { isn: keyed, filter_from: true, ..settings }, &prefixes)?;

    let [syn, syn_v6, tagged] = [LINUX_SYN, LINUX_SYN_V6, TAGGED_LINUX_SYN_V6].map(|hex| Wrapper::load(&packet(hex)));
    let (syn, syn_v6, tagged) = (syn?, syn_v6?, tagged?);
    let mut rows = vec![
        Row::new("floor: swap the MACs", &syn, syn.program("swap_macs")?, TX)?,
        Row::new("tcp-bounce", &syn, fd(&default), TX)?,
        Row::new("tcp-bounce, 100 ports spared", &syn, fd(&sparing), TX)?,
        Row::new("tcp-bounce --takeover", &syn, fd(&takeover), TX)?,
        Row::new("tcp-bounce --isn keyed", &syn, fd(&keyed_isn), TX)?,
        Row::new("tcp-bounce --then echo:7", &syn, fd(&following), TX)?,
        Row::new("tcp-bounce, over IPv6", &syn_v6, fd(&default), TX)?,
        Row::new("tcp-bounce, over IPv6, --to and --from with 1000 prefixes", &syn_v6, fd(&filtering), TX)?,
        Row::new("the same, --isn keyed, two VLAN tags", &tagged, fd(&everything), TX)?,
    ];
    if let Some(peer) = &peer {
        rows.push(Row::new("peer", &syn, peer.as_fd(), TX)?);
    }
    println!("Linux's SYN");
    measure(&mut rows, peer.is_some())?;

    println!("\nLinux's SYN, and what is told of it");
    let observing = |observe| load(Settings { observe, ..settings }, &own);
    let (stripes, shared) = tables::stripes()?;
    let nothing = Observe { stripes, shared, ..Observe::default() };
    let by_port = observing(Observe { ports: true, ..nothing })?;
    let by_source = observing(Observe { sources: true, ..nothing })?;
    let by_both = observing(Observe { ports: true, sources: true, ..nothing })?;
    let events = observing(Observe { events: 1, ..nothing })?;
    let sampled = observing(Observe { events: 1000, ..nothing })?;
    let mut reader = Reader::default();
    for program in [&events, &sampled] {
        reader.read(program, "", drop)?;
    }
    let mut rows = vec![
        Row::new("counters only", &syn, fd(&default), TX)?,
        Row::new("by port", &syn, fd(&by_port), TX)?,
        Row::new("by source", &syn, fd(&by_source), TX)?,
        Row::new("by port and by source", &syn, fd(&by_both), TX)?,
        Row::new("events, 1 in 1000", &syn, fd(&sampled), TX)?,
        Row::new("events, 1 in 1", &syn, fd(&events), TX)?,
    ];
    if let Some(peer) = &peer {
        rows.push(Row::new("peer", &syn, peer.as_fd(), TX)?);
    }
    measure(&mut rows, peer.is_some())?;
    reader.finish();
    let EventCount { told, lost, .. } = events::count(&events)?;
    println!("  of the events, 1 in 1, {:.0} percent were lost", 100.0 * lost as f64 / (told + lost) as f64);

    println!("\nOther packets");
    let others =
        OTHERS.map(|(name, action, hex)| Ok::<_, Box<dyn Error>>((name, action, Wrapper::load(&packet(hex))?)));
    let others = others.into_iter().collect::<Result<Vec<_>, _>>()?;
    let rows = others.iter().map(|(name, action, wrapper)| Row::new(name, wrapper, fd(&default), *action));
    let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
    if let Some(peer) = &peer {
        rows.push(Row::new("peer, SYN of Linux", &syn, peer.as_fd(), TX)?);
    }
    measure(&mut rows, peer.is_some())?;

    println!("\nAfter the handshake");
    let later = LATER.map(|(mode, name, action, hex)| {
        let mut packet = packet(hex);
        let isn = if mode.follows_client() { keyed } else { settings.isn };
        if mode.follows_client() {
            acknowledge(&mut packet)?;
        }
        let program = load(Settings { then: Thens::only(mode), isn, ..settings }, &own)?;
        Ok::<_, Box<dyn Error>>((name, action, Wrapper::load(&packet)?, program))
    });
    let later = later.into_iter().collect::<Result<Vec<_>, _>>()?;
    let rows = later.iter().map(|(name, action, wrapper, program)| Row::new(name, wrapper, fd(program), *action));
    let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
    if let Some(peer) = &peer {
        rows.push(Row::new("peer, SYN of Linux", &syn, peer.as_fd(), TX)?);
    }
    measure(&mut rows, peer.is_some())
}

/// The bytes of a packet.
fn packet(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks_exact(2).map(|byte| (byte[0] * 16 + byte[1]) as u8).collect()
}

/// Makes a segment over IPv4 acknowledge what a server has sent that followed the client up to here, and its checksum right.
fn acknowledge(packet: &mut [u8]) -> Result<(), Box<dyn Error>> {
    let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| packet[at + byte]));
    let [source, destination] = [26, 30].map(|offset| ipv4::Address(number(offset).to_be_bytes()));
    let key = u128::from_le_bytes(KEY);
    let hash = Ipv4::hash([key as u64, (key >> 64) as u64], source, destination, number(34).to_be_bytes());
    let acknowledgment_number = number(38).wrapping_add(offset(hash as u32));
    packet[42..46].copy_from_slice(&acknowledgment_number.to_be_bytes());
    let tcp = TcpSlice::from_slice(&packet[34..])?;
    let checksum = tcp.calc_checksum_ipv4(source.0, destination.0)?;
    packet[50..52].copy_from_slice(&checksum.to_be_bytes());
    Ok(())
}

/// A program, and the packet that it gets.
struct Row<'a> {
    name: &'a str,
    wrapper: &'a Wrapper,
    program: BorrowedFd<'a>,
    /// The XDP action that it must take.
    action: u32,
    /// How many instructions the verifier left of it.
    instructions: usize,
    /// How many it went over.
    verified: u32,
    /// Nanoseconds per packet above the zero, turn by turn.
    costs: Vec<f64>,
}

impl<'a> Row<'a> {
    fn new(name: &'a str, wrapper: &'a Wrapper, program: BorrowedFd<'a>, action: u32) -> Result<Self, Box<dyn Error>> {
        let (instructions, verified) = instructions(program)?;
        Ok(Self { name, wrapper, program, action, instructions, verified, costs: Vec::new() })
    }
}

/// Has the programs take turns, and prints what they cost; with `has_peer` also as a share of what the last costs.
fn measure(rows: &mut [Row], has_peer: bool) -> Result<(), Box<dyn Error>> {
    for _ in 0..TURNS {
        for row in &mut *rows {
            // Both at once, so that a machine that gets slower for a while does it to both.
            let zero = row.wrapper.measure(row.wrapper.program("transmit")?, TX)?;
            row.costs.push(row.wrapper.measure(row.program, row.action)? - zero);
        }
    }
    println!("  {:58} {:>13} {:>8} {:>12} {:>8}", "", "ns above zero", "of peer", "instructions", "verified");
    let peer = rows.last().map_or(&[][..], |peer| &peer.costs);
    for row in &*rows {
        let ratios = row.costs.iter().zip(peer).map(|(cost, peer)| cost / peer);
        let ratio = if has_peer { format!("{:.3}", median(ratios)) } else { "-".to_owned() };
        let Row { name, instructions, verified, .. } = row;
        let cost = median(row.costs.iter().copied());
        println!("  {name:58} {cost:>13.2} {ratio:>8} {instructions:>12} {verified:>8}");
    }
    Ok(())
}

fn fd<'a>(program: &'a TcpBounceSkel) -> BorrowedFd<'a> {
    program.progs.tcp_bounce.as_fd()
}

/// Filters with these prefixes of destinations and sources.
fn filters(prefixes: &[impl AsRef<str>]) -> Result<Box<Filters>, Box<dyn Error>> {
    let prefixes = prefixes.iter().map(|prefix| prefix.as_ref().parse()).collect::<Result<Vec<_>, _>>()?;
    let mut filters = Filters::new_box_zeroed().map_err(|_| "no memory")?;
    filters.to[0].fill(&ranges(&prefixes)).ok_or("too many prefixes")?;
    filters.from.fill(&ranges(&prefixes)).ok_or("too many prefixes")?;
    Ok(filters)
}

/// Loads an object with an XDP program in it.
fn load(path: &Path) -> Result<Object, Box<dyn Error>> {
    let object = ObjectBuilder::default().open_file(path).and_then(|object| object.load());
    object.map_err(|error| format!("{}: {error:#}", path.display()).into())
}

/// How many instructions the verifier left of a program, and how many it went over.
fn instructions(program: BorrowedFd) -> Result<(usize, u32), Box<dyn Error>> {
    let id = Program::id_from_fd(program)?;
    let options = ProgInfoQueryOptions::default().include_xlated_prog_insns(true);
    let program = ProgInfoIter::with_query_opts(options).find(|program| program.id == id);
    let program = program.ok_or("the program is gone")?;
    Ok((program.xlated_prog_insns.len() / 8, program.verified_insns))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// `restore`, with the packet that it writes.
struct Wrapper {
    object: Object,
    packet: Vec<u8>,
}

impl Wrapper {
    fn load(packet: &[u8]) -> Result<Self, Box<dyn Error>> {
        // `struct Packet`: the length, and room for 128 bytes.
        let mut rodata = vec![0; 8 + 128];
        rodata[..8].copy_from_slice(&packet.len().to_ne_bytes());
        rodata[8..][..packet.len()].copy_from_slice(packet);
        let mut object = ObjectBuilder::default().open_file(concat!(env!("OUT_DIR"), "/bench.bpf.o"))?;
        let mut maps = object.maps_mut();
        let mut map = maps.find(|map| map.name().to_string_lossy().ends_with(".rodata")).ok_or("no .rodata")?;
        map.set_initial_value(&rodata)?;
        drop(maps);
        Ok(Self { object: object.load()?, packet: packet.to_vec() })
    }

    fn program(&self, name: &str) -> Result<BorrowedFd<'_>, Box<dyn Error>> {
        let program = self.object.progs().find(|program| program.name() == name);
        let program = program.ok_or_else(|| format!("no program {name}"))?;
        // SAFETY: The object keeps it open, and is borrowed.
        Ok(unsafe { BorrowedFd::borrow_raw(program.as_fd().as_raw_fd()) })
    }

    /// Nanoseconds per packet, those of the wrapper included.
    fn measure(&self, program: BorrowedFd, action: u32) -> Result<f64, Box<dyn Error>> {
        let key = 0u32.to_ne_bytes();
        self.map("NEXT")?.update(&key, &program.as_raw_fd().to_ne_bytes(), MapFlags::ANY)?;
        // `struct Clock`: rounds, first, last.
        let clock = [u64::from(ROUNDS), 0, 0];
        self.map(".bss")?.update(&key, clock.as_bytes(), MapFlags::ANY)?;

        let restore = self.object.progs_mut().find(|program| program.name() == "restore").ok_or("no wrapper")?;
        let input = ProgramInput { data_in: Some(&self.packet), repeat: ROUNDS, ..Default::default() };
        let output = restore.test_run(input)?;
        if output.return_value != action {
            return Err(format!("a program gave the XDP action {}, not {action}", output.return_value).into());
        }

        let clock = self.map(".bss")?.lookup(&key, MapFlags::ANY)?.ok_or("no clock")?;
        let times: Vec<u64> =
            clock.chunks_exact(8).filter_map(|time| Some(u64::from_ne_bytes(time.try_into().ok()?))).collect();
        Ok((times[2] - times[1]) as f64 / f64::from(ROUNDS - 1))
    }

    fn map(&self, name: &str) -> Result<libbpf_rs::Map<'_>, Box<dyn Error>> {
        let map = self.object.maps().find(|map| map.name().to_string_lossy().ends_with(name));
        map.ok_or_else(|| format!("no map {name}").into())
    }
}
