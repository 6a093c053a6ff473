//! XDP programs other than the running tcp-bounce: those that are attached, and one to attach.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use libbpf_rs::libbpf_sys::BPF_F_XDP_HAS_FRAGS;
use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions, ProgramInfo};
use libbpf_rs::{Map, MapCore as _, MapFlags, MapHandle, Object, ObjectBuilder};
use tcp_bounce::attach::{AttachMode, Attachment};
use tcp_bounce::interface::Interface;
use tcp_bounce::kernel;
use tcp_bounce_wire::{Counters, Verdict};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::namespace::Namespace;
use super::process::run;

/// The object with the program of tcp-bounce.
pub const PRODUCT: &str = concat!(env!("OUT_DIR"), "/tcp_bounce.bpf.o");
/// The object with the program `pass`, which passes everything.
pub const BENCH: &str = concat!(env!("OUT_DIR"), "/bench.bpf.o");

/// The id of the XDP program on an interface, as `ip` sees it.
#[track_caller]
pub fn attached(namespace: &Namespace, interface: &str) -> Option<u32> {
    let link = namespace.ip(&format!("link show dev {interface}"));
    let (_, rest) = link.split_once("prog/xdp id ")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Has `ip` load or unload a program: the arguments of `ip link set dev`, separated by spaces.
///
/// It makes folders in the file system of BPF, so it gets one for itself, in a mount namespace that ends with it.
#[track_caller]
pub fn ip_link_set(namespace: &Namespace, arguments: &str) {
    let mut unshare = namespace.command("unshare");
    unshare.args(["--mount", "sh", "-c", "mount -t bpf bpf /sys/fs/bpf && exec ip link set dev \"$@\"", "ip"]);
    run(unshare.args(arguments.split_whitespace())).success();
}

/// Loads the programs for tests and benchmarks, of which some write this packet.
pub fn bench(packet: &[u8]) -> Object {
    let mut object = ObjectBuilder::default().open_file(BENCH).unwrap();
    // `struct Packet`: the length, and room for 128 bytes.
    let mut rodata = vec![0; 8 + 128];
    rodata[..8].copy_from_slice(&packet.len().to_ne_bytes());
    rodata[8..][..packet.len()].copy_from_slice(packet);
    let mut maps = object.maps_mut();
    let mut map = maps.find(|map| map.name().to_string_lossy().ends_with(".rodata")).unwrap();
    map.set_initial_value(&rodata).unwrap();
    drop(maps);
    object.load().unwrap()
}

/// Prepares a clock that the program of [`bench`] which runs next starts in its first round, and stops in the last of `rounds`.
pub fn set_clock(object: &Object, rounds: u32) {
    // `struct Clock`: rounds, first, last.
    let clock = [u64::from(rounds), 0, 0];
    clock_of(object).update(&0u32.to_ne_bytes(), clock.as_bytes(), MapFlags::ANY).unwrap();
}

/// The time from the first round to the last.
pub fn time(object: &Object) -> Duration {
    let clock = clock_of(object).lookup(&0u32.to_ne_bytes(), MapFlags::ANY).unwrap().unwrap();
    let [rounds, first, last] = <[u64; 3]>::read_from_bytes(&clock).unwrap();
    assert_eq!(rounds, 0, "it is not the last round yet");
    Duration::from_nanos(last - first)
}

fn clock_of(object: &Object) -> Map<'_> {
    object.maps().find(|map| map.name().to_string_lossy().ends_with(".bss")).unwrap()
}

/// Attaches `pass` to an interface in native mode.
pub fn pass(namespace: &Namespace, interface: &str) -> Attachment {
    let mut object = ObjectBuilder::default().open_file(BENCH).unwrap();
    object.progs_mut().for_each(|mut program| {
        let is_pass = program.name() == "pass";
        program.set_autoload(is_pass);
        // So that it does not limit the MTU.
        if kernel::has_frags() {
            program.set_flags(BPF_F_XDP_HAS_FRAGS);
        }
    });
    attach(&object.load().unwrap(), "pass", namespace, interface, AttachMode::Native)
}

/// Attaches the program with this name of `object`.
pub fn attach(object: &Object, name: &str, namespace: &Namespace, interface: &str, mode: AttachMode) -> Attachment {
    let program = object.progs().find(|program| program.name() == name).unwrap();
    attach_program(program.as_fd(), namespace, interface, mode)
}

/// Attaches a program.
pub fn attach_program(program: BorrowedFd, namespace: &Namespace, interface: &str, mode: AttachMode) -> Attachment {
    namespace.enter(|| {
        let interface = Interface::find(&[interface.to_owned()]).unwrap().remove(0);
        Attachment::new(program, &interface, mode).unwrap()
    })
}

/// What the kernel tells about the program with this id.
pub fn information(program: u32) -> ProgramInfo {
    let options = ProgInfoQueryOptions::default().include_map_ids(true);
    ProgInfoIter::with_query_opts(options).find(|info| info.id == program).unwrap()
}

/// What the program with this id has counted, read from its map in the kernel.
pub fn counters(program: u32) -> Counters {
    let maps = information(program).map_ids.into_iter().map(|id| MapHandle::from_map_id(id).unwrap());
    let map = maps.into_iter().find(|map| map.name() == "COUNTERS").unwrap();
    let cpus = map.lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY).unwrap().unwrap();
    let add = |sum, cpu: Vec<u8>| {
        let mut words = cpu.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
        sum + Counters::from([(); Verdict::ALL.len()].map(|()| words.next().unwrap()))
    };
    cpus.into_iter().fold(Counters::default(), add)
}
