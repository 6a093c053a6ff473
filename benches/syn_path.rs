//! What a packet costs in the kernel: `make bench`, as root.
//!
//! Each program runs behind the same wrapper, `restore` in `src/bpf/bench.rs`, which writes the packet anew for each
//! round. What the wrapper costs by itself, the zero, is taken off. The programs take turns, and the median of many
//! turns counts. Absolute times differ from machine to machine and from run to run: compare the ratios.
//!
//! `PEER_OBJ=FILE` names the object of another XDP program to compare with.

use std::error::Error;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd};
use std::path::Path;
use std::{env, fs, process};

use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions};
use libbpf_rs::{MapCore as _, MapFlags, Object, ObjectBuilder, Program, ProgramInput};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, Uid};
use tcp_bounce::loader;
use tcp_bounce::prefixes::ranges;
use tcp_bounce_wire::ethernet::Mac;
use tcp_bounce_wire::{Filters, Link, Settings, ipv4};
use zerocopy::{FromZeros as _, IntoBytes as _};

const TURNS: usize = 31;
const ROUNDS: u32 = 1_000_000;

/// Linux's SYN: MSS, SACK permitted, timestamps, window scale.
const LINUX_SYN: &str = "020000000002 020000000001 0800 \
    4500003c1c4640004006 0a70 0a000001 0a000002 \
    c350 1388 a1b2c3d4 00000000 a002faf0 b0a8 0000 020405b4 0402 080a1122334400000000 01 030307";

/// XDP actions.
const DROP: u32 = 1;
const PASS: u32 = 2;
const TX: u32 = 3;

/// Other packets: what they are, what becomes of them, and their bytes.
const OTHERS: [(&str, u32, &str); 6] = [
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
        "ACK that completes the handshake",
        DROP,
        "020000000002 020000000001 0800 \
        450000341c4640004006 0a78 0a000001 0a000002 c350 1388 a1b2c3d5 74637063 801001f6 b0a8 0000 \
        01 01 080a1122334400000000",
    ),
    (
        "segment of the host's own connection",
        PASS,
        "020000000002 020000000001 0800 \
        450000341c4640004006 0a78 0a000001 0a000002 c350 1388 a1b2c3d5 12345678 801001f6 b0a8 0000 \
        01 01 080a1122334400000000",
    ),
];

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
    let [mut filters, mut sparing] =
        [Filters::new_box_zeroed(), Filters::new_box_zeroed()].map(|new| new.expect("memory"));
    filters.to[0].fill(&ranges(&["10.0.0.2/32".parse()?, "fd00::2/128".parse()?])).ok_or("too many")?;
    sparing.clone_from(&filters);
    (0..100).for_each(|port| sparing.spared.insert(port));
    // As the command sets it, but for `frags`: a program without may not call one with, and the peer is one without.
    let settings = Settings { own_mac: true, filter_to: true, ..Settings::DEFAULT };
    let mac = Mac([2, 0, 0, 0, 0, 2]);
    let v4_address = ipv4::Address([10, 0, 0, 2]);
    let link = Link { v4_address, ..Link::new(mac, 1500, None, None) };
    let default = loader::load(settings, &link, &filters, None)?;
    let sparing = loader::load(settings, &link, &sparing, None)?;
    let takeover = loader::load(Settings { takeover: true, filter_to: false, ..settings }, &link, &filters, None)?;
    let default_fd = default.progs.tcp_bounce.as_fd().as_raw_fd();

    println!("Linux's SYN, 74 bytes");
    let wrapper = Wrapper::load(LINUX_SYN)?;
    let mut programs = vec![
        ("zero: return XDP_TX", wrapper.program("transmit")?),
        ("floor: swap the MACs", wrapper.program("swap_macs")?),
        ("tcp-bounce", default_fd),
        ("tcp-bounce, 100 ports spared", sparing.progs.tcp_bounce.as_fd().as_raw_fd()),
        ("tcp-bounce --takeover", takeover.progs.tcp_bounce.as_fd().as_raw_fd()),
    ];
    if let Some(peer) = peer.as_ref().and_then(|peer| peer.progs().next()) {
        programs.push(("peer", peer.as_fd().as_raw_fd()));
    }
    let times = wrapper.take_turns(&programs.iter().map(|(_, program)| (*program, TX)).collect::<Vec<_>>())?;
    let (zero, last) = (&times[0], &times[times.len() - 1]);
    println!("  {:32} {:>8} {:>16} {:>11} {:>8}", "ns per packet", "median", "least..most", "above zero", "of peer");
    for ((name, _), times) in programs.iter().zip(&times) {
        // Turn by turn, so that a machine that gets slower for a while does it to both.
        let costs = times.iter().zip(zero).map(|(time, zero)| time - zero);
        let ratios = costs.clone().zip(last).zip(zero).map(|((cost, peer), zero)| cost / (peer - zero));
        let ratio = if peer.is_some() { format!("{:.3}", median(ratios)) } else { "-".to_owned() };
        let (least, most) = (times.iter().copied().fold(f64::MAX, f64::min), times.iter().copied().fold(0.0, f64::max));
        let spread = format!("{least:.1}..{most:.1}");
        println!("  {name:32} {:>8.2} {spread:>16} {:>11.2} {ratio:>8}", median(times.iter().copied()), median(costs));
    }
    println!(
        "  the program is {} instructions, as the verifier left it",
        instructions(default.progs.tcp_bounce.as_fd())?
    );

    println!("\ntcp-bounce, other packets: ns above zero");
    for (name, action, packet) in OTHERS {
        let wrapper = Wrapper::load(packet)?;
        let times = wrapper.take_turns(&[(wrapper.program("transmit")?, TX), (default_fd, action)])?;
        println!("  {name:41} {:>8.2}", median(times[1].iter().zip(&times[0]).map(|(time, zero)| time - zero)));
    }
    Ok(())
}

/// Loads an object with an XDP program in it.
fn load(path: &Path) -> Result<Object, Box<dyn Error>> {
    let object = ObjectBuilder::default().open_file(path).and_then(|object| object.load());
    object.map_err(|error| format!("{}: {error:#}", path.display()).into())
}

/// How many instructions the verifier left of a program.
fn instructions(program: BorrowedFd) -> Result<usize, Box<dyn Error>> {
    let id = Program::id_from_fd(program)?;
    let options = ProgInfoQueryOptions::default().include_xlated_prog_insns(true);
    let program = ProgInfoIter::with_query_opts(options).find(|program| program.id == id);
    Ok(program.ok_or("the program is gone")?.xlated_prog_insns.len() / 8)
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
    fn load(hex: &str) -> Result<Self, Box<dyn Error>> {
        let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
        let packet: Vec<u8> = digits.chunks_exact(2).map(|byte| (byte[0] * 16 + byte[1]) as u8).collect();

        // `struct Packet`: the length, and room for 128 bytes.
        let mut rodata = vec![0; 8 + 128];
        rodata[..8].copy_from_slice(&packet.len().to_ne_bytes());
        rodata[8..][..packet.len()].copy_from_slice(&packet);
        let mut object = ObjectBuilder::default().open_file(concat!(env!("OUT_DIR"), "/bench.bpf.o"))?;
        let mut maps = object.maps_mut();
        let mut map = maps.find(|map| map.name().to_string_lossy().ends_with(".rodata")).ok_or("no .rodata")?;
        map.set_initial_value(&rodata)?;
        drop(maps);
        Ok(Self { object: object.load()?, packet })
    }

    fn program(&self, name: &str) -> Result<RawFd, Box<dyn Error>> {
        let program = self.object.progs().find(|program| program.name() == name);
        Ok(program.ok_or_else(|| format!("no program {name}"))?.as_fd().as_raw_fd())
    }

    /// Measures the programs, one after the other, again and again: the nanoseconds per packet of each at each turn.
    /// Each must take the action that stands beside it.
    fn take_turns(&self, programs: &[(RawFd, u32)]) -> Result<Vec<Vec<f64>>, Box<dyn Error>> {
        let mut times = vec![Vec::with_capacity(TURNS); programs.len()];
        for _ in 0..TURNS {
            for ((program, action), times) in programs.iter().zip(&mut times) {
                times.push(self.measure(*program, *action)?);
            }
        }
        Ok(times)
    }

    /// Nanoseconds per packet, those of the wrapper included.
    fn measure(&self, program: RawFd, action: u32) -> Result<f64, Box<dyn Error>> {
        let key = 0u32.to_ne_bytes();
        self.map("NEXT")?.update(&key, &program.to_ne_bytes(), MapFlags::ANY)?;
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
