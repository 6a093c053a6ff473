//! Whatever is attached and detached again and again: nothing of it stays, in the process or in the kernel.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd as _;

use crate::fixtures::amount;
use crate::fixtures::network::{Mode, Network};
use crate::fixtures::packet::{Choice, Kernel, Setup};
use crate::fixtures::process::in_own_process;
use crate::fixtures::programs::program_info;
use crate::fixtures::until;
use libbpf_rs::query::{LinkInfoIter, MapInfoIter, ProgInfoIter};
use tcp_bounce::internals::Interface;
use tcp_bounce::internals::{AttachMode, XdpLink, attached};
use tcp_bounce_wire::TelemetrySettings;

/// How many descriptors the process has.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// How many pages of memory the process has to itself.
fn pages() -> usize {
    // Unlike `status`, this is exact.
    let memory = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let kilobytes = memory.lines().find_map(|line| line.strip_prefix("Anonymous:")?.strip_suffix("kB")).unwrap();
    kilobytes.trim().parse::<usize>().unwrap() / 4
}

/// Does something `times` times. Then the process has no more descriptors than before, and the second half of it has taken
/// less than a page each time.
#[track_caller]
fn repeat(what: &str, times: usize, mut once: impl FnMut(usize)) {
    let before = descriptors();
    let mut half = || {
        (0..times / 2).for_each(&mut once);
        pages()
    };
    // In the first half the allocator gets what it will keep.
    let (first, second) = (half(), half());
    println!("{times} {what}: {first} pages after half of them, {second} after all");
    assert_eq!(descriptors(), before, "{what}");
    assert!(second < first + times * 3 / 8, "{what}: {first} pages after half of them, {second} after all");
}

/// What the kernel has had for us: their ids, which it gives to nothing else for a long time.
#[derive(Default)]
struct Objects {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    links: BTreeSet<u32>,
}

impl Objects {
    /// Takes note of an attached program, its maps and its link.
    fn add(&mut self, program: u32) {
        self.programs.insert(program);
        self.maps.extend(program_info(program).map_ids);
        let links = LinkInfoIter::default().filter(|link| link.prog_id == program);
        self.links.extend(links.map(|link| link.id));
    }

    /// Whether any of them is still there.
    fn are_there(&self) -> bool {
        ProgInfoIter::default().any(|program| self.programs.contains(&program.id))
            || MapInfoIter::default().any(|map| self.maps.contains(&map.id))
            || LinkInfoIter::default().any(|link| self.links.contains(&link.id))
    }
}

/// The program with all its maps.
fn load() -> Kernel {
    let telemetry = TelemetrySettings { ports: true, sources: true, events: 1, stripes: 1, shared: true };
    Kernel::load_setup(&Setup { telemetry, ..Setup::new(Choice::DEFAULT) })
}

/// In a process of its own, since other tests open files meanwhile.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn nothing_stays_of_a_thousand_attachments() {
    in_own_process(nothing_stays_of_a_thousand_attachments, attach_and_detach);
}

fn attach_and_detach() {
    // An attachment takes milliseconds, mostly of waiting in the kernel; a load takes a good part of a second.
    let (attachments, loads) = (amount("ATTACHMENTS", 300, 900), amount("LOADS", 100, 1000));
    let network = Network::new(Mode::Skb);
    let mut objects = Objects::default();
    network.host.enter(|| {
        let interface = Interface::find(&["host0".to_owned()]).unwrap().remove(0);
        let attached_id = || attached::query(&interface).unwrap().prog_id;
        let mut on_and_off = |kernel: &Kernel, mode| {
            let attachment = XdpLink::new(kernel.program.progs.tcp_bounce.as_fd(), &interface, mode).unwrap();
            objects.add(attached_id());
            drop(attachment);
            until("for the program to be detached", || (attached_id() == 0).then_some(()));
        };

        let kernel = load();
        repeat("attachments", attachments, |index| {
            on_and_off(&kernel, [AttachMode::Native, AttachMode::Skb][index % 2]);
        });
        drop(kernel);
        repeat("loads", loads, |_| on_and_off(&load(), AttachMode::Skb));
    });
    let Objects { programs, maps, links } = &objects;
    println!("{} programs, {} maps, {} links", programs.len(), maps.len(), links.len());
    assert!(programs.len() > loads && maps.len() > loads && links.len() >= attachments + loads);
    until("for the kernel to be rid of them", || (!objects.are_there()).then_some(()));
}
