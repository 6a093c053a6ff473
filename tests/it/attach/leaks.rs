//! Repeated attaching and loading: no descriptor, memory or kernel object is leaked.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd as _;

use libbpf_rs::query::{LinkInfoIter, MapInfoIter, ProgInfoIter};
use tcp_bounce::internals::Interface;
use tcp_bounce::internals::{AttachMode, XdpLink, attached};
use tcp_bounce_wire::TelemetrySettings;

use crate::fixtures::amount;
use crate::fixtures::network::{Mode, Network};
use crate::fixtures::packet::{Choice, Kernel, Setup};
use crate::fixtures::process::in_own_process;
use crate::fixtures::programs::{link_of, program_info};
use crate::fixtures::until;

/// Returns the number of open descriptors of this process.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Returns the number of anonymous pages of this process, of 4 KiB each.
fn pages() -> usize {
    // Unlike `/proc/self/status`, `smaps_rollup` is exact (proc(5)).
    let memory = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let kilobytes = memory.lines().find_map(|line| line.strip_prefix("Anonymous:")?.strip_suffix("kB")).unwrap();
    kilobytes.trim().parse::<usize>().unwrap() / 4
}

/// Calls `once` the given number of times.
///
/// Checks that no descriptor stays open, and that the second half of the calls takes less than two pages per call.
#[track_caller]
fn repeat(name: &str, times: usize, mut once: impl FnMut(usize)) {
    let before = descriptors();
    // The allocator returns memory to the kernel at times, so the largest size of each half counts.
    let mut half = || {
        let sizes = (0..times / 2).map(|index| {
            once(index);
            pages()
        });
        sizes.max().unwrap_or_default()
    };
    // The first half lets the allocator reach its steady size.
    let (first, second) = (half(), half());
    println!("{times} {name}: up to {first} pages in the first half, up to {second} in the second half");
    assert_eq!(descriptors(), before, "{name}");
    assert!(second < first + times, "{name}: up to {first} pages at first, up to {second} later");
}

/// The ids of the BPF objects that a test created. The kernel assigns ids in ascending order and does not reuse them
/// soon.
#[derive(Default)]
struct Objects {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    links: BTreeSet<u32>,
}

impl Objects {
    /// Records an attached program, its maps and its link.
    fn add(&mut self, program: u32) {
        self.programs.insert(program);
        self.maps.extend(program_info(program).map_ids);
        self.links.insert(link_of(program));
    }

    /// Returns whether any of the objects still exists.
    fn exist(&self) -> bool {
        ProgInfoIter::default().any(|program| self.programs.contains(&program.id))
            || MapInfoIter::default().any(|map| self.maps.contains(&map.id))
            || LinkInfoIter::default().any(|link| self.links.contains(&link.id))
    }
}

/// Loads the program with all its maps.
fn load() -> Kernel {
    let telemetry = TelemetrySettings { ports: true, sources: true, events: 1, stripes: 1, shared: true, data: 64 };
    Kernel::load_setup(&Setup { telemetry, ..Setup::new(Choice::DEFAULT) })
}

/// Runs in a separate process, since concurrent tests in this process open files.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn attaching_and_loading_leaks_nothing() {
    in_own_process(attaching_and_loading_leaks_nothing, attach_and_detach);
}

fn attach_and_detach() {
    // Attaching takes milliseconds, mostly spent waiting in the kernel. Loading takes a large part of a second.
    let (attachments, loads) = (amount("ATTACHMENTS", 300, 900), amount("LOADS", 50, 1000));
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
    until("for the kernel to free them", || (!objects.exist()).then_some(()));
}
