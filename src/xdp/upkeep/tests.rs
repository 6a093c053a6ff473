//! Tests that the table of local ports never lacks the port of a socket, and becomes empty without sockets.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;
use tcp_bounce_wire::local_ports::{StateChange, TCP_CLOSE, TCP_ESTABLISHED, TCP_LISTEN};

use super::*;

/// The namespace that is tracked, and another one.
const NAMESPACE: u64 = 0xffff_8880_0000_1000;
const OTHER_NAMESPACE: u64 = 0xffff_8880_0000_2000;

/// `TCP_SYN_SENT` of `net/tcp_states.h`.
const TCP_SYN_SENT: u32 = 2;

/// The number of ports. With few ports, several sockets share one, and ports are used again.
const PORTS: u16 = 6;

/// An event of a socket, or the passing of time. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A socket listens on `port`. A lookup finds it `delay` after the kernel has reported it.
    Listen { port: u16, delay: u64 },
    /// A socket without a port listens. The kernel selects `port` and does not report it.
    ListenUnbound { port: u16, delay: u64 },
    /// A socket without a port connects. The kernel selects `port`, and reports it when the connection is established.
    Connect { port: u16 },
    /// A socket listens, and the program that records it is interrupted for `delay` after it has read the epoch.
    ListenSlowly { port: u16, delay: u64 },
    /// A socket of another namespace listens.
    ListenElsewhere { port: u16 },
    /// One of the sockets is established. The number selects it.
    Establish(usize),
    /// One of the sockets is closed.
    Close(usize),
    /// Time passes, and user space takes the next step. The dump misses some of the sockets, by these bits.
    Tick { time: u64, missed: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    let port = || 1..=PORTS;
    // A dump that begins after `SETTLE` lists each socket that was reported before.
    let delay = || 0..SETTLE.as_millis() as u64;
    prop_oneof![
        2 => (port(), delay()).prop_map(|(port, delay)| Event::Listen { port, delay }),
        1 => (port(), delay()).prop_map(|(port, delay)| Event::ListenUnbound { port, delay }),
        2 => port().prop_map(|port| Event::Connect { port }),
        1 => (port(), delay()).prop_map(|(port, delay)| Event::ListenSlowly { port, delay: delay + 1 }),
        1 => port().prop_map(|port| Event::ListenElsewhere { port }),
        2 => any::<usize>().prop_map(Event::Establish),
        4 => any::<usize>().prop_map(Event::Close),
        12 => (prop_oneof![1..50u64, 1..1500u64], any::<u64>()).prop_map(|(time, missed)| Event::Tick { time, missed }),
    ]
}

/// A socket of the host.
#[derive(Clone, Copy, Debug)]
struct Socket {
    port: u16,
    state: u32,
    /// The time at which lookups and dumps find the socket.
    visible: u64,
    /// The epoch and the time of a stamp that is still to be written.
    stamp: Option<(u8, u64)>,
}

/// The kernel, as far as the table depends on it.
struct Kernel {
    table: Rc<LocalPortTable>,
    now: u64,
    sockets: BTreeMap<usize, Socket>,
    next: usize,
    /// The sockets that the last dump and the current one missed.
    missed: [BTreeSet<usize>; 2],
    /// Selects the sockets that the current dump misses.
    missed_bits: u64,
}

impl Kernel {
    fn report(&self, namespace: u64, port: u16, old_state: u32, new_state: u32) {
        self.table.kernel().record(StateChange { namespace, port, old_state, new_state, is_loopback: false });
    }

    fn add(&mut self, port: u16, state: u32, delay: u64, stamp: Option<(u8, u64)>) {
        self.sockets.insert(self.next, Socket { port, state, visible: self.now + delay, stamp });
        self.next += 1;
    }

    /// Returns the socket that `number` selects among the visible ones.
    fn select(&self, number: usize) -> Option<usize> {
        let visible: Vec<usize> =
            self.sockets.iter().filter(|(_, socket)| socket.visible <= self.now).map(|(&id, _)| id).collect();
        (!visible.is_empty()).then(|| visible[number % visible.len()])
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Listen { port, delay } => {
                self.report(NAMESPACE, port, TCP_CLOSE, TCP_LISTEN);
                self.add(port, TCP_LISTEN, delay, None);
            }
            Event::ListenUnbound { port, delay } => {
                self.report(NAMESPACE, 0, TCP_CLOSE, TCP_LISTEN);
                self.add(port, TCP_LISTEN, delay, None);
            }
            Event::Connect { port } => {
                self.report(NAMESPACE, 0, TCP_CLOSE, TCP_SYN_SENT);
                self.add(port, TCP_SYN_SENT, 0, None);
            }
            Event::ListenSlowly { port, delay } => {
                let epoch = self.table.epoch();
                self.add(port, TCP_LISTEN, delay, Some((epoch, self.now + delay)));
            }
            Event::ListenElsewhere { port } => self.report(OTHER_NAMESPACE, port, TCP_CLOSE, TCP_LISTEN),
            Event::Establish(number) => {
                if let Some(id) = self.select(number)
                    && let Some(Socket { port, state, .. }) = self.sockets.get(&id).copied()
                    && state == TCP_SYN_SENT
                {
                    self.report(NAMESPACE, port, state, TCP_ESTABLISHED);
                    self.sockets.entry(id).and_modify(|socket| socket.state = TCP_ESTABLISHED);
                }
            }
            Event::Close(number) => {
                if let Some(Socket { port, state, .. }) = self.select(number).and_then(|id| self.sockets.remove(&id)) {
                    self.report(NAMESPACE, port, state, TCP_CLOSE);
                }
            }
            Event::Tick { time, missed } => {
                self.pass(time);
                self.missed_bits = missed;
            }
        }
    }

    /// Lets time pass, and writes the stamps that are due.
    fn pass(&mut self, time: u64) {
        self.now += time;
        let Self { now, table, sockets, .. } = self;
        for socket in sockets.values_mut() {
            let Some((epoch, _)) = socket.stamp.filter(|&(_, due)| due <= *now) else { continue };
            let change = StateChange {
                namespace: NAMESPACE,
                port: socket.port,
                old_state: TCP_CLOSE,
                new_state: TCP_LISTEN,
                is_loopback: false,
            };
            table.in_epoch(epoch, |table| table.record(change));
            socket.stamp = None;
        }
    }

    /// Returns the ports of the visible sockets with an id from `first` on, but of at most two, and the next id.
    fn dump(&mut self, first: usize) -> Option<(Vec<u16>, usize)> {
        let now = self.now;
        let found: Vec<(usize, u16)> =
            self.sockets.range(first..).filter(|(_, it)| it.visible <= now).map(|(&id, it)| (id, it.port)).collect();
        let last = found.iter().take(2).next_back()?.0;
        let mut ports = Vec::new();
        for (id, port) in found.into_iter().take(2) {
            // No socket is missed twice in a row.
            if self.missed_bits >> (id % 64) & 1 != 0 && !self.missed[0].contains(&id) {
                self.missed[1].insert(id);
            } else {
                ports.push(port);
            }
        }
        Some((ports, last + 1))
    }

    /// Returns the port of each socket that a lookup finds. A socket that connects without a port of its own is
    /// exempt until it is established.
    fn live_ports(&self) -> impl Iterator<Item = u16> {
        let is_live = |socket: &&Socket| socket.visible <= self.now && socket.state != TCP_SYN_SENT;
        self.sockets.values().filter(is_live).map(|socket| socket.port)
    }
}

/// A dump of the sockets of a [`Kernel`], of at most two sockets at a time.
struct Dump {
    kernel: Rc<RefCell<Kernel>>,
    next: usize,
}

impl Iterator for Dump {
    type Item = io::Result<Vec<u16>>;

    fn next(&mut self) -> Option<Self::Item> {
        let (ports, next) = self.kernel.borrow_mut().dump(self.next)?;
        self.next = next;
        Some(Ok(ports))
    }
}

/// The kernel and user space.
struct World {
    kernel: Rc<RefCell<Kernel>>,
    upkeep: Upkeep<Dump>,
    start: Instant,
}

impl World {
    /// Creates a host on which listeners on `ports` exist before the tracker starts.
    fn new(ports: &[u16]) -> Self {
        let table = Rc::new(LocalPortTable::fake(NAMESPACE));
        let start = Instant::now();
        let upkeep = Upkeep::new(&table, start);
        let mut kernel =
            Kernel { table, now: 0, sockets: BTreeMap::new(), next: 0, missed: Default::default(), missed_bits: 0 };
        ports.iter().for_each(|&port| kernel.add(port, TCP_LISTEN, 0, None));
        Self { kernel: Rc::new(RefCell::new(kernel)), upkeep, start }
    }

    fn apply(&mut self, event: Event) {
        self.kernel.borrow_mut().apply(event);
        if let Event::Tick { .. } = event {
            let now = self.start + Duration::from_millis(self.kernel.borrow().now);
            let start = || {
                let mut kernel = self.kernel.borrow_mut();
                let last = std::mem::take(&mut kernel.missed[1]);
                kernel.missed[0] = last;
                Ok(Dump { kernel: Rc::clone(&self.kernel), next: 0 })
            };
            let table = Rc::clone(&self.kernel.borrow().table);
            self.upkeep.tick(&table, now, start);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn contains_the_ports_of_all_live_sockets(ports in vec(1..=PORTS, 0..4), events in vec(event(), 0..150)) {
        let mut world = World::new(&ports);
        for event in events {
            world.apply(event);
            let kernel = world.kernel.borrow();
            for port in kernel.live_ports() {
                prop_assert!(kernel.table.kernel().may_contain(port), "port {port} after {event:?}");
            }
        }
    }

    #[test]
    fn becomes_complete_and_empty_without_sockets(ports in vec(1..=PORTS, 0..4), events in vec(event(), 0..50)) {
        let mut world = World::new(&ports);
        events.into_iter().for_each(|event| world.apply(event));
        let tick = Event::Tick { time: 500, missed: 0 };
        world.apply(tick);
        (0..200).for_each(|_| world.kernel.borrow_mut().apply(Event::Close(0)));
        // The longest dump takes a tick for each two of 54 sockets. Three more cycles of 10 s follow.
        (0..200).for_each(|_| world.apply(tick));
        let kernel = world.kernel.borrow();
        prop_assert!(kernel.table.is_complete());
        prop_assert!((0..=u16::MAX).all(|port| !kernel.table.kernel().may_contain(port)));
    }
}
