//! Segments from forged sources, sent as fast as the kernel can, and the sink for what comes back.

use std::time::Duration;

use etherparse::{PacketBuilder, TcpHeader, TcpOptionElement};
use libbpf_rs::libbpf_sys::BPF_F_TEST_XDP_LIVE_FRAMES;
use libbpf_rs::{MapCore as _, MapFlags, Object, ProgramInput};
use nix::net::if_::if_nametoindex;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use tcp_bounce::attach::{AttachMode, Attachment};
use tcp_bounce_wire::{Isn, ProgramSettings, Verdict};
use zerocopy::IntoBytes as _;

use super::network::{HOST, Network};
use super::segment::mac;
use super::{programs, until};

/// The network of the forged sources. The host needs a route to it if its kernel is to answer them.
pub const FORGED: &str = "10.0.0.0/8";
/// The sequence number of the SYNs.
const SEQUENCE_NUMBER: u32 = 1000;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// SYNs with the options of Linux.
    Syn,
    /// The ACKs that end the handshakes which the SYNs began, if the server's ISN was this.
    Ack(u32),
}

/// A sender at `client0` of a [`Network`], on one CPU. There must be an XDP program: see [`Sink`].
pub struct Flood<'a> {
    network: &'a Network,
    object: Object,
    frame: Vec<u8>,
    cpu: usize,
}

impl<'a> Flood<'a> {
    /// A sender to this port of `host0`, on the first CPU that there is. Each segment has another source: one of 16,777,216
    /// addresses, and then another port.
    pub fn new(network: &'a Network, kind: Kind, port: u16) -> Self {
        Self::on_cpu(network, kind, port, cpus()[0])
    }

    /// The same on this CPU.
    pub fn on_cpu(network: &'a Network, kind: Kind, port: u16, cpu: usize) -> Self {
        let mut tcp = TcpHeader::new(1024, port, SEQUENCE_NUMBER, 64_240);
        let timestamp = TcpOptionElement::Timestamp(1, 0);
        let options: &[_] = match kind {
            Kind::Syn => {
                tcp.syn = true;
                let [mss, window_scale] =
                    [TcpOptionElement::MaximumSegmentSize(1460), TcpOptionElement::WindowScale(7)];
                &[
                    mss,
                    TcpOptionElement::SelectiveAcknowledgementPermitted,
                    timestamp,
                    TcpOptionElement::Noop,
                    window_scale,
                ]
            }
            Kind::Ack(isn) => {
                tcp.ack = true;
                tcp.sequence_number += 1;
                tcp.acknowledgment_number = isn.wrapping_add(1);
                &[TcpOptionElement::Noop, TcpOptionElement::Noop, timestamp]
            }
        };
        tcp.set_options(options).expect("they have room");
        let ethernet = PacketBuilder::ethernet2(mac(&network.client, "client0"), mac(&network.host, "host0"));
        let mut frame = Vec::new();
        ethernet.ipv4([10, 0, 0, 0], HOST.octets(), 64).tcp_header(tcp).write(&mut frame, &[]).unwrap();
        Self { network, object: programs::bench(&frame), frame, cpu }
    }

    /// Sends this many, and returns the time from the first to the last: with all that the kernel does about them on the same
    /// CPU, which for a veth pair is all.
    pub fn send(&self, segments: u32) -> Duration {
        self.run("flood", segments)
    }

    /// Makes this many, but does not send them, and returns how long that took.
    pub fn rehearse(&self, segments: u32) -> Duration {
        self.run("rehearse", segments)
    }

    fn run(&self, program: &str, segments: u32) -> Duration {
        self.network.client.enter(|| {
            run_on(self.cpu);
            let interface = if_nametoindex("client0").unwrap();
            // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
            let mut context = [0, self.frame.len() as u32, 0, interface, 0, 0];
            let input = ProgramInput {
                context_in: Some(context.as_mut_bytes()),
                data_in: Some(&self.frame),
                flags: BPF_F_TEST_XDP_LIVE_FRAMES,
                repeat: segments,
                ..Default::default()
            };
            let program = self.object.progs_mut().find(|it| it.name() == program).unwrap();
            programs::set_clock(&self.object, segments);
            program.test_run(input).unwrap();
            programs::time(&self.object)
        })
    }
}

/// Opens connections to this port, which stay open: so many that the program has completed `count` handshakes in all.
pub fn open_connections(network: &Network, port: u16, count: u64) {
    let Isn::Fixed(isn) = ProgramSettings::DEFAULT.isn else { unreachable!("the default is fixed") };
    let floods = [Kind::Syn, Kind::Ack(isn)].map(|kind| Flood::new(network, kind, port));
    // What is lost on the way is made up for.
    until("for them to be open", || {
        let missing = count.saturating_sub(network.counters()[Verdict::Completed]);
        if missing > 0 {
            for flood in &floods {
                flood.send(missing as u32);
            }
        }
        (missing == 0).then_some(())
    });
}

/// What has come back to the forged sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Segments with SYN and ACK.
    pub syn_acks: u64,
    /// Segments with RST.
    pub resets: u64,
    /// Other segments.
    pub others: u64,
}

/// The program at an interface, in native mode, that counts what comes back to the forged sources, and drops it.
pub struct Sink {
    object: Object,
    _attachment: Attachment,
}

impl Sink {
    /// Attaches it to `client0`.
    pub fn new(network: &Network) -> Self {
        let object = programs::bench(&[]);
        let attachment = programs::attach(&object, "sink", &network.client, "client0", AttachMode::Native);
        Self { object, _attachment: attachment }
    }

    /// What has come back so far.
    pub fn received(&self) -> Received {
        let map = self.object.maps().find(|map| map.name() == "RECEIVED").unwrap();
        let cpus = map.lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY).unwrap().unwrap();
        let mut sums = [0; 3];
        for (index, word) in cpus.iter().flat_map(|cpu| cpu.chunks_exact(8).enumerate()) {
            sums[index] += u64::from_ne_bytes(word.try_into().unwrap());
        }
        let [syn_acks, resets, others] = sums;
        Received { syn_acks, resets, others }
    }
}

/// The CPUs that this thread may run on.
pub fn cpus() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu) == Ok(true)).collect()
}

/// Has this thread run on one of them only.
pub fn run_on(cpu: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &cpus)).unwrap();
}
