//! What the tests of the loaded program share: requests, and what the kernel makes of them in a test run.

#![allow(dead_code, reason = "each test crate uses its own part of this")]

#[path = "../../src/wire/tests/common/mod.rs"]
mod request;

use std::fmt::{self, Debug, Formatter};

use libbpf_rs::libbpf_sys::{XDP_DROP, XDP_PASS, XDP_TX};
use libbpf_rs::{ProgramInput, ProgramMut};
use tcp_bounce::skel::TcpBounceSkel;
use tcp_bounce::{loader, stats};
use tcp_bounce_wire::{Counters, Filters, PortSet, Verdict, XdpAction};

pub use request::*;

/// The longest frame that every kernel takes for a test run: a page, less what it needs itself before and behind it.
pub const LONGEST: usize = 3072;

/// The program as it runs in the kernel, attached to nothing.
pub struct Kernel {
    pub program: TcpBounceSkel<'static>,
    filters: Box<Filters>,
    counters: Counters,
}

impl Kernel {
    /// Loads the program; it spares no port, and answers for every address.
    pub fn load(settings: Choice) -> Self {
        Self::load_setup(&Setup::new(settings))
    }

    /// Loads the program with filters.
    pub fn load_setup(setup: &Setup) -> Self {
        let (link, then) = (setup.settings.interface(), setup.actions_by_port());
        let program = loader::load(setup.settings(), &link, &setup.filters, &then, None);
        let program = program.unwrap_or_else(|error| panic!("{error}: {error:?}"));
        Self { program, filters: setup.filters.clone(), counters: Counters::default() }
    }

    /// Tells the program to spare these ports from now on, and no others.
    pub fn spare(&mut self, ports: impl IntoIterator<Item = u16>) {
        self.filters.excluded_ports = port_set(ports);
        loader::set_filters(&self.program, &self.filters).expect("the filters can be written");
    }

    /// Runs the program once on `frame`.
    pub fn run(&mut self, frame: &[u8]) -> Outcome {
        let (action, frame) = test_run(&self.program.progs.tcp_bounce, frame);
        let before = self.counters;
        self.counters = stats::read(&self.program).expect("the counters can be read");
        let deltas = Verdict::ALL.into_iter().map(|verdict| (verdict, self.counters[verdict] - before[verdict]));
        Outcome { action, counted: deltas.filter(|&(_, delta)| delta != 0).collect(), frame }
    }
}

/// What became of a frame.
#[derive(PartialEq, Eq)]
pub struct Outcome {
    /// One of `enum xdp_action`.
    pub action: u32,
    /// The counters that changed, and by how much.
    pub counted: Vec<(Verdict, u64)>,
    /// The frame afterwards.
    pub frame: Vec<u8>,
}

impl Outcome {
    /// What is to be seen of `verdict`, if it is carried out and counted once.
    pub fn of(verdict: Verdict, frame: Vec<u8>) -> Self {
        let action = match verdict.action() {
            XdpAction::Pass => XDP_PASS,
            XdpAction::Drop => XDP_DROP,
            XdpAction::Tx => XDP_TX,
        };
        Self { action, counted: vec![(verdict, 1)], frame }
    }
}

impl Debug for Outcome {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Self { action, counted, frame } = self;
        write!(f, "XDP action {action}, counted {counted:?}, {} bytes: {}", frame.len(), hex(frame))
    }
}

/// The action of `program` on `frame`, and what the frame is then.
pub fn test_run(program: &ProgramMut, frame: &[u8]) -> (u32, Vec<u8>) {
    let mut out = [0xa5; 4096];
    let input = ProgramInput { data_in: Some(frame), data_out: Some(&mut out), ..ProgramInput::default() };
    let output = program.test_run(input).unwrap_or_else(|error| panic!("test run: {error}: {}", hex(frame)));
    let frame = output.data.expect("there is a place for it").to_vec();
    (output.return_value, frame)
}

/// These ports, as the program wants them.
pub fn port_set(ports: impl IntoIterator<Item = u16>) -> PortSet {
    let mut set = PortSet::new();
    ports.into_iter().for_each(|port| set.insert(port));
    set
}

/// The TSval of a reply, if it has timestamps: the kernel's clock tells what nobody else knows.
pub fn timestamp(reply: &[u8]) -> Option<u32> {
    let segment = Segment::parse(reply)?;
    SynOptions::of(segment.tcp.options()).timestamp.map(u32::from_be_bytes)
}

/// `bytes` in hex, without spaces.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
