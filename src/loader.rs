//! From the skeleton to a program in the kernel.

use std::cell::RefCell;
use std::io::Write as _;
use std::mem::MaybeUninit;

use libbpf_rs::libbpf_sys::BPF_F_XDP_HAS_FRAGS;
use libbpf_rs::skel::{OpenSkel as _, SkelBuilder as _};
use libbpf_rs::{MapCore as _, MapFlags, PrintLevel, set_print};
use tcp_bounce_wire::{
    ActionByPort, Bucket, Filters, InterfaceState, ProgramConfig, ProgramSettings, TelemetrySettings,
};
use zerocopy::IntoBytes as _;

use crate::error::Error;
use crate::kernel;
use crate::skel::{OpenTcpBounceSkel, TcpBounceSkel, TcpBounceSkelBuilder};

/// How much room there is for events that nobody has read yet, in bytes: a power of two, and whole pages.
pub const EVENT_BYTES: u32 = 1 << 20;

/// Loads the program with these settings and what it will follow; for the NIC with the index `offload`, if it is to run
/// there.
pub fn load(
    settings: ProgramSettings,
    link: &InterfaceState,
    filters: &Filters,
    then: &ActionByPort,
    offload: Option<u32>,
) -> Result<TcpBounceSkel<'static>, Error> {
    let mut skel = open().map_err(failure)?;
    set_up(&mut skel, settings, link, then).map_err(failure)?;
    if let Some(ifindex) = offload {
        skel.progs.tcp_bounce.set_ifindex(ifindex);
        skel.maps.COUNTERS.set_map_ifindex(ifindex);
        skel.maps.rodata.set_map_ifindex(ifindex);
        skel.maps.rodata_then.set_map_ifindex(ifindex);
        skel.maps.data.set_map_ifindex(ifindex);
        skel.maps.bss.set_map_ifindex(ifindex);
    }
    let skel = load_opened(skel)?;
    set_filters(&skel, filters).map_err(Error::Maps)?;
    Ok(skel)
}

/// Tells what was opened what it has to know before it is loaded.
pub fn set_up(
    skel: &mut OpenTcpBounceSkel,
    settings: ProgramSettings,
    link: &InterfaceState,
    then: &ActionByPort,
) -> libbpf_rs::Result<()> {
    skel.maps.rodata.set_initial_value(ProgramConfig::new(settings).as_bytes())?;
    skel.maps.rodata_then.set_initial_value(then.as_bytes())?;
    skel.maps.data.set_initial_value(link.as_bytes())?;
    if settings.frags {
        skel.progs.tcp_bounce.set_flags(BPF_F_XDP_HAS_FRAGS);
    }
    size_tables(skel, settings.telemetry)
}

/// Makes room for what is to be told besides the counters, and for nothing else.
fn size_tables(skel: &mut OpenTcpBounceSkel, observe: TelemetrySettings) -> libbpf_rs::Result<()> {
    let TelemetrySettings { ports, sources, events, stripes, .. } = observe;
    let maps = &mut skel.maps;
    maps.PORTS.set_autocreate(ports)?;
    maps.PORTS.set_max_entries(stripes << u16::BITS)?;
    maps.SOURCES.set_autocreate(sources)?;
    maps.SOURCES.set_max_entries(stripes * Bucket::COUNT as u32)?;
    maps.EVENTS.set_autocreate(events != 0)?;
    maps.EVENTS.set_max_entries(EVENT_BYTES)?;
    maps.EVENT_COUNTS.set_autocreate(events != 0)
}

/// Tells the program what to answer from now on.
pub fn set_filters(program: &TcpBounceSkel, filters: &Filters) -> libbpf_rs::Result<()> {
    program.maps.bss.update(&0u32.to_ne_bytes(), filters.as_bytes(), MapFlags::ANY)
}

/// Tells the program what its interface is like from now on.
pub fn set_link(program: &TcpBounceSkel, link: &InterfaceState) -> libbpf_rs::Result<()> {
    program.maps.data.update(&0u32.to_ne_bytes(), link.as_bytes(), MapFlags::ANY)
}

/// The program before it is loaded, with the settings that it was built with.
pub fn open() -> libbpf_rs::Result<OpenTcpBounceSkel<'static>> {
    set_print(Some((PrintLevel::Warn, collect)));
    MESSAGES.take();
    // The library wants this place, a pointer's worth, to outlive the skeleton; so it lives as long as the process.
    let place = Box::leak(Box::new(MaybeUninit::uninit()));
    TcpBounceSkelBuilder::default().open(place)
}

/// Loads what was opened.
pub fn load_opened(skel: OpenTcpBounceSkel<'static>) -> Result<TcpBounceSkel<'static>, Error> {
    skel.load().map_err(failure)
}

thread_local! {
    /// What libbpf has said to this thread since it was last asked. It is the only way to the verifier's log.
    static MESSAGES: RefCell<String> = const { RefCell::new(String::new()) };
}

fn collect(_level: PrintLevel, message: String) {
    MESSAGES.with_borrow_mut(|messages| messages.push_str(&message));
}

fn failure(source: libbpf_rs::Error) -> Error {
    let messages = MESSAGES.take();
    // The log is there also where the kernel did not get so far as to verify anything. Where it cannot be saved, all of
    // it is shown.
    let verified = messages.contains("BEGIN PROG LOAD LOG") && !messages.contains("processed 0 insns");
    if verified && let Ok(log) = save(&messages) {
        return Error::Verifier { log, source };
    }
    let messages = messages.lines().map(|line| line.trim_start_matches("libbpf: ").to_owned()).collect();
    Error::Load { messages, has_btf: kernel::has_btf(), source }
}

fn save(log: &str) -> std::io::Result<std::path::PathBuf> {
    let mut file = tempfile::Builder::new().prefix("tcp-bounce-verifier-").suffix(".log").tempfile()?;
    file.write_all(log.as_bytes())?;
    let (_, path) = file.keep().map_err(|error| error.error)?;
    Ok(path)
}
