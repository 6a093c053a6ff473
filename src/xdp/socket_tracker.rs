//! The tracker of the host's sockets: has the kernel record them in the table of local ports.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Instant;

use libbpf_rs::Link;
use libbpf_rs::skel::OpenSkel as _;
use nix::sys::socket::sockopt::IpFreebind;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, setsockopt, socket,
};

use super::local_port_table::LocalPortTable;
use super::skel::TcpBounceSkel;
use super::upkeep::Upkeep;
use super::{XdpError, loader};
use crate::host::sockets::PortDump;

/// The name of the map with the table of local ports.
const MAP: &str = ".data.ports";

/// The tracepoint at which the kernel reports changes of TCP sockets' states.
const TRACEPOINT: &str = "inet_sock_set_state";

/// The maximum number of attempts to identify the network namespace.
const PROBES: usize = 8;

/// The table of local ports, and the program that records the host's sockets in it.
///
/// The kernel stops recording when this value is dropped, and also when the process is killed.
pub struct SocketTracker {
    map: OwnedFd,
    table: LocalPortTable,
    /// The attached program with its upkeep, or the reason why there is none.
    recorder: Result<Recorder, TrackingError>,
}

/// The attached program, and the upkeep of its table.
struct Recorder {
    upkeep: Upkeep<PortDump>,
    _link: Link,
}

/// The reason why the kernel does not record the host's sockets. The XDP program then looks up a socket for each SYN
/// and ACK.
#[derive(Debug, thiserror::Error)]
pub enum TrackingError {
    /// The kernel refuses the program, for example in lockdown mode.
    #[error("each SYN and ACK costs a socket lookup, because the kernel refuses the program that records sockets")]
    Load(#[source] Box<XdpError>),
    /// The program cannot be attached to the tracepoint.
    #[error("each SYN and ACK costs a socket lookup, because the tracepoint {TRACEPOINT} cannot be used")]
    Attach(#[source] libbpf_rs::Error),
    /// The socket that identifies the network namespace cannot be opened.
    #[error("each SYN and ACK costs a socket lookup, because the network namespace cannot be identified")]
    Probe(#[source] io::Error),
    /// The tracepoint does not report the socket that identifies the network namespace.
    #[error("each SYN and ACK costs a socket lookup, because the tracepoint {TRACEPOINT} does not report sockets")]
    Unreported,
}

impl TrackingError {
    /// Returns the hint for the user.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Load(_) | Self::Attach(_) => {
                "allow raw tracepoints: seccomp, kernel lockdown or a security module may deny them"
            }
            Self::Probe(_) => "allow tcp-bounce to listen on 127.0.0.1 while it starts",
            Self::Unreported => "report this bug with the output of `uname -a`",
        }
    }
}

impl SocketTracker {
    /// Creates the table, attaches the program that records sockets, and identifies the network namespace of the
    /// calling thread.
    ///
    /// Without the program, the tracker still has a table, which stays incomplete.
    ///
    /// # Errors
    ///
    /// [`XdpError::Load`] if the table cannot be created, [`XdpError::LocalPorts`] if it cannot be mapped.
    pub fn start() -> Result<Self, XdpError> {
        let (loaded, refusal) = match load(true) {
            Ok(loaded) => (loaded, None),
            Err(error) => (load(false)?, Some(error)),
        };
        let map = loaded.maps.data_ports.as_fd().try_clone_to_owned().map_err(XdpError::LocalPorts)?;
        let table = LocalPortTable::new(&map).map_err(XdpError::LocalPorts)?;
        let recorder = match refusal {
            None => Recorder::start(&loaded, &table),
            Some(error) => Err(TrackingError::Load(error.into())),
        };
        Ok(Self { map, table, recorder })
    }

    /// Returns the table.
    pub fn table(&self) -> &LocalPortTable {
        &self.table
    }

    /// Returns the reason why the kernel does not record sockets, if it does not.
    pub fn error(&self) -> Option<&TrackingError> {
        self.recorder.as_ref().err()
    }

    /// Continues the upkeep of the table, in the network namespace in which the tracker was started.
    pub fn tick(&mut self, now: Instant) {
        if let Ok(Recorder { upkeep, .. }) = &mut self.recorder {
            upkeep.tick(&self.table, now, PortDump::start);
        }
    }
}

impl AsFd for SocketTracker {
    /// Returns the map with the table, which XDP programs can share.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

impl Recorder {
    /// Attaches the program, identifies the network namespace, and begins the upkeep.
    fn start(loaded: &TcpBounceSkel, table: &LocalPortTable) -> Result<Self, TrackingError> {
        let link = loaded.progs.track_socket.attach_raw_tracepoint(TRACEPOINT).map_err(TrackingError::Attach)?;
        let identified = identify_namespace(table);
        table.set_probe_port(0);
        identified?;
        Ok(Self { upkeep: Upkeep::new(table, Instant::now()), _link: link })
    }
}

/// Loads the map with the table of local ports, and the program that records sockets if `with_program` is set.
fn load(with_program: bool) -> Result<TcpBounceSkel<'static>, XdpError> {
    let mut skel = loader::open().map_err(loader::load_error)?;
    skel.progs.tcp_bounce.set_autoload(false);
    skel.progs.track_socket.set_autoload(with_program);
    for mut map in skel.open_object_mut().maps_mut() {
        let is_table = map.name() == MAP;
        map.set_autocreate(is_table).map_err(loader::load_error)?;
    }
    loader::load_opened(skel)
}

/// Has the kernel write the address of this thread's network namespace into `table`.
///
/// The kernel recognises the namespace by a listener on the probe port. A listener of another namespace may open at the
/// same moment on the same port, so two probes with different ports must agree.
fn identify_namespace(table: &LocalPortTable) -> Result<(), TrackingError> {
    // All listeners stay open, so that each probe gets another port.
    let mut listeners = Vec::new();
    let mut previous = 0;
    for _ in 0..PROBES {
        table.clear_namespace();
        listeners.push(probe(table).map_err(TrackingError::Probe)?);
        let found = table.namespace();
        if found != 0 && found == previous {
            return Ok(());
        }
        previous = found;
    }
    Err(TrackingError::Unreported)
}

/// Opens a listener on 127.0.0.1, after `table` has got its port.
fn probe(table: &LocalPortTable) -> io::Result<OwnedFd> {
    let listener = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // The address exists only while the loopback interface is up.
    setsockopt(&listener, IpFreebind, &true)?;
    bind(listener.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)))?;
    table.set_probe_port(getsockname::<SockaddrIn>(listener.as_raw_fd())?.port());
    listen(&listener, Backlog::new(1)?)?;
    Ok(listener)
}
