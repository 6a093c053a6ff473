//! Loading the XDP program: from the skeleton to maps and a verified program in the kernel.

use std::cell::RefCell;
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use libbpf_rs::libbpf_sys::BPF_F_XDP_HAS_FRAGS;
use libbpf_rs::skel::{OpenSkel as _, SkelBuilder as _};
use libbpf_rs::{MapCore, MapFlags, PrintLevel, set_print};
use tcp_bounce_wire::{
    ActionByPort, Block, Bucket, Filters, InterfaceState, ProgramConfig, ProgramSettings, Service, ServiceByPort,
    TelemetrySettings,
};
use zerocopy::IntoBytes as _;

use super::XdpError;
use super::skel::{OpenTcpBounceSkel, TcpBounceSkel, TcpBounceSkelBuilder};
use crate::host::kernel;

/// The size of the ring buffer for events, in bytes. The kernel requires a power of two and a multiple of the page
/// size.
///
/// An event takes 56 bytes, so the buffer holds the events of 74 ms at a million events per second.
pub const EVENT_BYTES: u32 = 4 << 20;

/// The settings, tables and filters that the program is loaded with.
#[derive(Clone, Copy, Debug)]
pub struct ProgramInputs<'a> {
    /// The settings, which cannot change after loading.
    pub settings: ProgramSettings,
    /// The state of the interface, which [`set_interface_state`] can change later.
    pub interface: &'a InterfaceState,
    /// The scope and the excluded ports, which [`set_filters`] can change later.
    pub filters: &'a Filters,
    /// The action of each port, which cannot change after loading.
    pub actions: &'a ActionByPort,
    /// The services of the ports, which cannot change after loading.
    pub services: Option<&'a ServiceTables>,
}

/// The tables of services and their payloads. No table is empty.
#[derive(Clone, Debug)]
pub struct ServiceTables {
    /// The services. If payloads have fields, there are two entries for each: the first for IPv4, the second for IPv6.
    pub services: Vec<Service>,
    /// The index of each port's service.
    pub by_port: Box<ServiceByPort>,
    /// The payloads of the services.
    pub blocks: Vec<Block>,
    /// Whether payloads have fields. [`ProgramSettings::has_fields`] must be the same.
    pub has_fields: bool,
}

/// Opens and loads the program.
///
/// `offload` is the index of the interface whose NIC runs the program. `None` loads the program for the host CPUs.
///
/// # Errors
///
/// [`XdpError::Verifier`] if the kernel's verifier rejects the program; [`XdpError::Load`] if the program or its maps
/// cannot be loaded for another reason.
pub fn load(inputs: &ProgramInputs, offload: Option<u32>) -> Result<TcpBounceSkel<'static>, XdpError> {
    let mut skel = open().map_err(load_error)?;
    set_up(&mut skel, inputs).map_err(load_error)?;
    if let Some(ifindex) = offload {
        skel.progs.tcp_bounce.set_ifindex(ifindex);
        skel.maps.COUNTERS.set_map_ifindex(ifindex);
        skel.maps.rodata.set_map_ifindex(ifindex);
        skel.maps.rodata_actions.set_map_ifindex(ifindex);
        skel.maps.data.set_map_ifindex(ifindex);
        skel.maps.bss.set_map_ifindex(ifindex);
        skel.maps.data_ports.set_map_ifindex(ifindex);
        skel.maps.OPEN_HANDSHAKES.set_map_ifindex(ifindex);
        skel.maps.SERVICES.set_map_ifindex(ifindex);
        skel.maps.SERVICE_BY_PORT.set_map_ifindex(ifindex);
        skel.maps.BLOCKS.set_map_ifindex(ifindex);
    }
    load_filled(skel, inputs)
}

/// Opens and loads the program for the host CPUs, like [`load`], with the map `local_ports` as its table of local
/// ports.
///
/// # Errors
///
/// The errors of [`load`].
pub fn load_sharing(inputs: &ProgramInputs, local_ports: BorrowedFd) -> Result<TcpBounceSkel<'static>, XdpError> {
    let mut skel = open().map_err(load_error)?;
    set_up(&mut skel, inputs).map_err(load_error)?;
    skel.maps.data_ports.reuse_fd(local_ports).map_err(load_error)?;
    load_filled(skel, inputs)
}

/// Loads an opened program, and fills its maps of services.
fn load_filled(skel: OpenTcpBounceSkel<'static>, inputs: &ProgramInputs) -> Result<TcpBounceSkel<'static>, XdpError> {
    let program = load_opened(skel)?;
    if let Some(services) = inputs.services {
        fill_services(&program, services).map_err(XdpError::Maps)?;
    }
    Ok(program)
}

/// Opens the program with its built-in settings, without loading it.
///
/// # Errors
///
/// The error of libbpf, which parses the embedded object.
pub fn open() -> libbpf_rs::Result<OpenTcpBounceSkel<'static>> {
    set_print(Some((PrintLevel::Warn, collect_message)));
    MESSAGES.take();
    // libbpf-rs stores the opened object in this memory, which must outlive the skeleton.
    let object = Box::leak(Box::new(MaybeUninit::uninit()));
    TcpBounceSkelBuilder::default().open(object)
}

/// Applies `inputs` to an opened program.
///
/// # Errors
///
/// The error of libbpf if a map cannot be set up.
pub fn set_up(skel: &mut OpenTcpBounceSkel, inputs: &ProgramInputs) -> libbpf_rs::Result<()> {
    let settings = inputs.settings;
    skel.maps.rodata.set_initial_value(ProgramConfig::new(settings).as_bytes())?;
    skel.maps.rodata_actions.set_initial_value(inputs.actions.as_bytes())?;
    skel.maps.data.set_initial_value(inputs.interface.as_bytes())?;
    skel.maps.bss.set_initial_value(inputs.filters.as_bytes())?;
    size_services(skel, inputs.services)?;
    if settings.frags {
        skel.progs.tcp_bounce.set_flags(BPF_F_XDP_HAS_FRAGS);
    }
    size_tables(skel, settings.telemetry)
}

/// Sets the sizes of the telemetry maps. Maps of disabled telemetry are not created.
fn size_tables(skel: &mut OpenTcpBounceSkel, telemetry: TelemetrySettings) -> libbpf_rs::Result<()> {
    let TelemetrySettings { ports, sources, events, stripes, .. } = telemetry;
    let maps = &mut skel.maps;
    maps.OPEN_HANDSHAKES.set_autocreate(ports || sources || events != 0)?;
    maps.PORTS.set_autocreate(ports)?;
    maps.PORTS.set_max_entries(stripes << u16::BITS)?;
    maps.EXCLUDED_SYNS.set_autocreate(ports)?;
    maps.SOURCES.set_autocreate(sources)?;
    maps.SOURCES.set_max_entries(stripes * Bucket::COUNT as u32)?;
    maps.EVENTS.set_autocreate(events != 0)?;
    maps.EVENTS.set_max_entries(EVENT_BYTES)?;
    maps.EVENT_COUNTS.set_autocreate(events != 0)
}

/// Sets the sizes of the maps of services. Without services, the maps are not created.
fn size_services(skel: &mut OpenTcpBounceSkel, services: Option<&ServiceTables>) -> libbpf_rs::Result<()> {
    let maps = &mut skel.maps;
    maps.SERVICES.set_autocreate(services.is_some())?;
    maps.SERVICE_BY_PORT.set_autocreate(services.is_some())?;
    maps.BLOCKS.set_autocreate(services.is_some())?;
    if let Some(ServiceTables { services, blocks, .. }) = services {
        maps.SERVICES.set_max_entries(services.len() as u32)?;
        maps.BLOCKS.set_max_entries(blocks.len() as u32)?;
    }
    Ok(())
}

/// Fills the maps of services of a loaded program.
///
/// # Errors
///
/// The error of `BPF_MAP_UPDATE_BATCH` or `BPF_MAP_UPDATE_ELEM`.
fn fill_services(program: &TcpBounceSkel, tables: &ServiceTables) -> libbpf_rs::Result<()> {
    let ServiceTables { services, by_port, blocks, .. } = tables;
    let maps = &program.maps;
    maps.SERVICE_BY_PORT.update(&0u32.to_ne_bytes(), by_port.as_bytes(), MapFlags::ANY)?;
    fill(&maps.SERVICES, services.as_bytes(), services.len())?;
    fill(&maps.BLOCKS, blocks.as_bytes(), blocks.len())
}

/// Writes `count` values to the start of an array.
fn fill(map: &impl MapCore, values: &[u8], count: usize) -> libbpf_rs::Result<()> {
    let keys: Vec<u8> = (0..count as u32).flat_map(u32::to_ne_bytes).collect();
    map.update_batch(&keys, values, count as u32, MapFlags::ANY, MapFlags::ANY)
}

/// Loads an opened program into the kernel.
///
/// # Errors
///
/// [`XdpError::Verifier`] if the kernel's verifier rejects the program; [`XdpError::Load`] if the program or its maps
/// cannot be loaded for another reason.
pub fn load_opened(skel: OpenTcpBounceSkel<'static>) -> Result<TcpBounceSkel<'static>, XdpError> {
    skel.load().map_err(load_error)
}

/// Replaces the scope and the excluded ports of a loaded program.
///
/// # Errors
///
/// The error of `BPF_MAP_UPDATE_ELEM`.
pub fn set_filters(program: &TcpBounceSkel, filters: &Filters) -> libbpf_rs::Result<()> {
    program.maps.bss.update(&0u32.to_ne_bytes(), filters.as_bytes(), MapFlags::ANY)
}

/// Replaces the interface state of a loaded program.
///
/// # Errors
///
/// The error of `BPF_MAP_UPDATE_ELEM`.
pub fn set_interface_state(program: &TcpBounceSkel, state: &InterfaceState) -> libbpf_rs::Result<()> {
    program.maps.data.update(&0u32.to_ne_bytes(), state.as_bytes(), MapFlags::ANY)
}

thread_local! {
    /// The warnings of libbpf on this thread since the last [`open`]. They include the verifier's log of a rejected
    /// program.
    static MESSAGES: RefCell<String> = const { RefCell::new(String::new()) };
}

fn collect_message(_level: PrintLevel, message: String) {
    MESSAGES.with_borrow_mut(|messages| messages.push_str(&message));
}

/// Converts an error of libbpf, and adds its warnings since the last [`open`] on this thread.
pub fn load_error(source: libbpf_rs::Error) -> XdpError {
    let messages = MESSAGES.take();
    // If the kernel refuses the program before it verifies any instruction, the log contains no reason.
    let is_verified = messages.contains("BEGIN PROG LOAD LOG") && !messages.contains("processed 0 insns");
    if is_verified && let Ok(log) = save_log(&messages) {
        return XdpError::Verifier { log, source };
    }
    let messages = messages.lines().map(|line| line.trim_start_matches("libbpf: ").to_owned()).collect();
    XdpError::Load { messages, has_btf: kernel::has_btf(), source }
}

fn save_log(log: &str) -> std::io::Result<PathBuf> {
    let mut file = tempfile::Builder::new().prefix("tcp-bounce-verifier-").suffix(".log").tempfile()?;
    file.write_all(log.as_bytes())?;
    let (_, path) = file.keep().map_err(|error| error.error)?;
    Ok(path)
}
