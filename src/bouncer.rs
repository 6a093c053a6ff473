//! One interface on which tcp-bounce answers.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::os::fd::AsFd as _;

use libbpf_rs::{MapCore as _, MapFlags};
use nix::errno::Errno;
use tcp_bounce_wire::{Counters, Ports, Settings};
use zerocopy::IntoBytes as _;

use crate::attach::{AttachMode, Attachment, Occupant};
use crate::cli::{Cli, Mode};
use crate::error::Error;
use crate::interface::Interface;
use crate::skel::TcpBounceSkel;
use crate::{loader, stats};

const LOST_ON_VETH: &str = "on veth, native replies are lost unless the peer has an XDP program too";

/// The program, loaded and attached to an interface as long as this value lives.
pub struct Bouncer {
    interface: Interface,
    mode: AttachMode,
    /// What there is to know about that mode here.
    remark: Option<String>,
    attachment: Attachment,
    program: TcpBounceSkel<'static>,
}

impl Bouncer {
    /// Loads the program with the settings of `cli`, tells it the ports to spare, and attaches it to `interface`.
    pub fn start(interface: Interface, cli: &Cli, spared: &Ports) -> Result<Self, Error> {
        let attach = |mode| attach(&interface, mode, cli, spared);
        let (mode, remark) = match cli.mode {
            Mode::Native if interface.is_veth => (AttachMode::Native, Some(LOST_ON_VETH.to_owned())),
            Mode::Native => (AttachMode::Native, None),
            Mode::Skb => (AttachMode::Skb, None),
            Mode::Hw => (AttachMode::Hw, None),
            Mode::Auto if interface.is_veth => (AttachMode::Skb, Some(LOST_ON_VETH.to_owned())),
            Mode::Auto => match attach(AttachMode::Native) {
                Ok((program, attachment)) => {
                    return Ok(Self { interface, mode: AttachMode::Native, remark: None, attachment, program });
                }
                Err(Error::Refused { source, .. }) => {
                    (AttachMode::Skb, Some(format!("the driver refuses native mode: {source}")))
                }
                Err(error) => return Err(error),
            },
        };
        let (program, attachment) = attach(mode)?;
        Ok(Self { interface, mode, remark, attachment, program })
    }

    /// Tells the program which ports to spare from now on.
    pub fn spare(&self, ports: &Ports) -> Result<(), Error> {
        spare(&self.program, ports)
    }

    /// What the program has counted so far.
    pub fn counters(&self) -> Result<Counters, Error> {
        stats::read(&self.program).map_err(Error::Maps)
    }

    /// Checks that the program is still attached.
    pub fn check(&self) -> Result<(), Error> {
        let interface = self.interface.name.clone();
        if !self.interface.exists() {
            return Err(Error::Removed { interface });
        }
        match self.attachment.is_attached() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Detached { interface }),
            Err(source) => Err(Error::QueryLink { interface, source }),
        }
    }
}

impl Display for Bouncer {
    /// The interface, and how the program is attached to it.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{} ({} mode", self.interface.name, self.mode)?;
        if let Some(remark) = &self.remark {
            write!(f, ": {remark}")?;
        }
        write!(f, ")")
    }
}

/// Checks that no XDP program is attached to `interface`: somebody else's is never replaced.
pub fn check_vacant(interface: &Interface) -> Result<(), Error> {
    let name = interface.name.clone();
    match Occupant::of(interface) {
        Ok(None) => Ok(()),
        Ok(Some(occupant)) => Err(Error::Occupied { interface: name, occupant }),
        Err(source) => Err(Error::Query { interface: name, source }),
    }
}

fn attach(
    interface: &Interface,
    mode: AttachMode,
    cli: &Cli,
    spared: &Ports,
) -> Result<(TcpBounceSkel<'static>, Attachment), Error> {
    let settings = Settings {
        isn: cli.isn,
        ttl: cli.ttl,
        window: cli.window,
        mss: cli.mss,
        takeover: cli.takeover,
        attach_mode: mode.flags() as u16,
    };
    let offload = (mode == AttachMode::Hw).then_some(interface.index);
    let program = loader::load(settings, offload).map_err(|error| match error {
        // The offload device is named at load, so a driver without offload refuses there.
        Error::Load { source, .. } if offload.is_some() => refused(interface, mode, source.into()),
        error => error,
    })?;
    spare(&program, spared)?;
    let attachment = Attachment::new(program.progs.tcp_bounce.as_fd(), interface, mode)
        .map_err(|source| attach_error(interface, mode, source))?;
    Ok((program, attachment))
}

fn spare(program: &TcpBounceSkel, ports: &Ports) -> Result<(), Error> {
    program.maps.bss.update(&0u32.to_ne_bytes(), ports.as_bytes(), MapFlags::ANY).map_err(Error::Maps)
}

/// The kernel gives no more than an errno; what it means depends on what was asked.
fn attach_error(interface: &Interface, mode: AttachMode, source: io::Error) -> Error {
    match source.raw_os_error().map(Errno::from_raw) {
        // Somebody was faster than we; or the interface belongs to another, like a bond's, that has a program.
        Some(Errno::EBUSY | Errno::EEXIST) => {
            check_vacant(interface).err().unwrap_or_else(|| refused(interface, mode, source.into()))
        }
        Some(Errno::ENODEV) => Error::Removed { interface: interface.name.clone() },
        Some(Errno::EPERM | Errno::EACCES) => Error::Attach { interface: interface.name.clone(), mode, source },
        _ => refused(interface, mode, source.into()),
    }
}

fn refused(interface: &Interface, mode: AttachMode, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Refused { interface: interface.name.clone(), mode, source }
}
