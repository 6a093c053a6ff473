//! One interface on which tcp-bounce answers.

use std::io;
use std::os::fd::AsFd as _;

use nix::errno::Errno;
use tcp_bounce_wire::ethernet::Mac;
use tcp_bounce_wire::{ActionByPort, Filters, InterfaceState, Isn, ProgramSettings, TelemetrySettings};

use crate::answered::{self, Answering, Destinations};
use crate::attach::{AttachMode, Attachment, Occupant};
use crate::check::verdict::MTU_WITHOUT_FRAGMENTS;
use crate::cli::{Cli, Mode};
use crate::error::Error;
use crate::interface::Interface;
use crate::message::Message;
use crate::metrics::Sample;
use crate::observer::observe;
use crate::skel::TcpBounceSkel;
use crate::surroundings::Surroundings;
use crate::then::Plan;
use crate::{events, kernel, loader, stats};

/// Why auto does not take native mode on veth.
pub(crate) const LOST_ON_VETH: &str = "on veth, native replies are lost unless the peer has an XDP program too";

/// The program, loaded and attached to an interface as long as this value lives.
pub struct Bouncer {
    interface: Interface,
    mode: AttachMode,
    /// What there is to know about that mode here.
    remark: Option<String>,
    attachment: Attachment,
    program: TcpBounceSkel<'static>,
    destinations: Destinations,
    /// What the program has been told.
    link: InterfaceState,
    filters: Box<Filters>,
}

impl Bouncer {
    /// Loads the program with the settings of `cli` and `isn`, and attaches it to `interface`.
    pub fn start(
        interface: Interface,
        cli: &Cli,
        isn: Isn,
        plan: &Plan,
        surroundings: &Surroundings,
    ) -> Result<Self, Error> {
        let destinations = Destinations::now(cli, &interface, surroundings);
        let link = link(cli, &interface, &destinations, surroundings);
        let filters = answered::filters(cli, &destinations, surroundings)?;
        let then = plan.by_port()?;
        let observe = observe(cli)?;
        let attach = |mode: AttachMode| {
            let settings = settings(cli, observe, isn, plan, &interface, &destinations, mode);
            attach(&interface, mode, settings, &link, &filters, &then)
        };
        let (mode, remark) = match cli.mode {
            Mode::Native if interface.is_veth => (AttachMode::Native, Some(LOST_ON_VETH.to_owned())),
            Mode::Native => (AttachMode::Native, None),
            Mode::Skb => (AttachMode::Skb, None),
            Mode::Hw => (AttachMode::Hw, None),
            Mode::Auto if interface.is_veth => (AttachMode::Skb, Some(LOST_ON_VETH.to_owned())),
            Mode::Auto => match attach(AttachMode::Native) {
                Ok((program, attachment)) => {
                    let mode = AttachMode::Native;
                    return Ok(Self {
                        interface,
                        mode,
                        remark: None,
                        attachment,
                        program,
                        destinations,
                        link,
                        filters,
                    });
                }
                Err(Error::Refused { source, .. }) => {
                    (AttachMode::Skb, Some(format!("the driver refuses native mode: {source}")))
                }
                Err(error) => return Err(error),
            },
        };
        let (program, attachment) = attach(mode)?;
        Ok(Self { interface, mode, remark, attachment, program, destinations, link, filters })
    }

    /// Checks that the program is still attached, and tells it what has changed. If it answers for other addresses now,
    /// these are returned.
    pub fn follow(&mut self, cli: &Cli, surroundings: &Surroundings) -> Result<Option<&Destinations>, Error> {
        let name = || self.interface.name.clone();
        let Some(interface) = surroundings.interfaces.iter().find(|other| other.index == self.interface.index) else {
            return Err(Error::Removed { interface: name() });
        };
        match self.attachment.is_attached() {
            Ok(true) => {}
            Ok(false) => return Err(Error::Detached { interface: name() }),
            Err(source) => return Err(Error::QueryLink { interface: name(), source }),
        }

        let destinations = Destinations::now(cli, interface, surroundings);
        let link = link(cli, interface, &destinations, surroundings);
        if link != self.link {
            self.link = link;
            loader::set_link(&self.program, &self.link).map_err(Error::Maps)?;
        }
        let ports = surroundings.spared.ports();
        let moved = destinations != self.destinations;
        if moved {
            let index = answered::prepare(&mut self.filters, &destinations)?;
            // The set must be whole before it is used, and one update says nothing of the order in it.
            loader::set_filters(&self.program, &self.filters).map_err(Error::Maps)?;
            self.filters.active_destinations = index;
            self.destinations = destinations;
        }
        if moved || ports != self.filters.excluded_ports {
            self.filters.excluded_ports = ports;
            loader::set_filters(&self.program, &self.filters).map_err(Error::Maps)?;
        }
        Ok(moved.then_some(&self.destinations))
    }

    /// Its interface, as it was at the start.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// The mode that it is attached in.
    pub fn mode(&self) -> AttachMode {
        self.mode
    }

    /// For whom it answers.
    pub fn destinations(&self) -> &Destinations {
        &self.destinations
    }

    /// The program.
    pub fn program(&self) -> &TcpBounceSkel<'static> {
        &self.program
    }

    /// What to say when it has started.
    pub fn started(&self, answering: &Answering) -> Message {
        Message::Started {
            interface: self.interface.name.clone(),
            mode: self.mode,
            remark: self.remark.clone(),
            to: self.destinations.clone(),
            answering: answering.clone(),
        }
    }

    /// Detaches the program, and returns it: it gets no packets any more.
    pub fn detach(self) -> TcpBounceSkel<'static> {
        self.program
    }

    /// What there is to know now.
    pub fn sample(&self) -> Result<Sample, Error> {
        let counters = stats::read(&self.program).map_err(Error::Maps)?;
        let has_events = self.program.maps.EVENTS.autocreate();
        let events = has_events.then(|| events::count(&self.program)).transpose().map_err(Error::Maps)?;
        Ok(Sample { interface: self.interface.name.clone(), mode: self.mode, counters, events })
    }
}

/// Checks that no XDP program is attached to `interface`: somebody else's is never replaced.
pub fn check_vacant(interface: &Interface) -> Result<(), Error> {
    match Occupant::of(interface)? {
        Some(occupant) => Err(Error::Occupied { interface: interface.name.clone(), occupant }),
        None => Ok(()),
    }
}

/// What keeps `interface` from getting a program, where the kernel says that one is there already, but not on it.
fn occupied_above(interface: &Interface) -> Result<Error, Error> {
    let name = interface.name.clone();
    let all = Interface::all().map_err(Error::ListInterfaces)?;
    for above in interface.above(&all) {
        if let Some(occupant) = Occupant::of(above)? {
            return Ok(Error::OccupiedAbove { interface: name, above: above.name.clone(), occupant });
        }
    }
    Ok(Error::OccupiedSomewhere { interface: name })
}

/// Has the kernel verify the program as it would be for `interface`, and attaches it to nothing.
pub fn verify(
    interface: &Interface,
    mode: AttachMode,
    cli: &Cli,
    isn: Isn,
    plan: &Plan,
    surroundings: &Surroundings,
) -> Result<(), Error> {
    let destinations = Destinations::now(cli, interface, surroundings);
    let filters = answered::filters(cli, &destinations, surroundings)?;
    let link = link(cli, interface, &destinations, surroundings);
    let settings = settings(cli, observe(cli)?, isn, plan, interface, &destinations, mode);
    load(interface, mode, settings, &link, &filters, &*plan.by_port()?).map(drop)
}

fn settings(
    cli: &Cli,
    observe: TelemetrySettings,
    isn: Isn,
    plan: &Plan,
    interface: &Interface,
    destinations: &Destinations,
    mode: AttachMode,
) -> ProgramSettings {
    ProgramSettings {
        isn,
        ttl: cli.ttl,
        window_scale: cli.wscale,
        actions: plan.modes(),
        takeover: cli.takeover,
        checks_mac: true,
        filters_destinations: *destinations != Destinations::Any,
        filters_sources: !cli.from.is_empty(),
        telemetry: observe,
        frags: mode == AttachMode::Native && kernel::has_frags() && !breaks_on_fragments(interface),
        attach_mode: mode.flags() as u16,
    }
}

/// Whether a program that takes packets in several parts must not run here.
///
/// Where an answer is shorter, `bpf_xdp_adjust_tail` gives back the pages of those parts, and on veth (as in skb mode
/// everywhere) the kernel does not do it right: the pages come from a pool, and are freed as if they did not. Linux 6.18 warns
/// (`page_pool/helpers.h`), and memory is then used twice. A program that takes one part gets each packet in one, and the other
/// end of the veth is told so; but for jumbo frames there is no native mode without.
fn breaks_on_fragments(interface: &Interface) -> bool {
    interface.is_veth && interface.mtu <= MTU_WITHOUT_FRAGMENTS
}

fn link(cli: &Cli, interface: &Interface, destinations: &Destinations, surroundings: &Surroundings) -> InterfaceState {
    let own = interface.addresses(&surroundings.interfaces, &surroundings.addresses);
    let (primary_v4, primary_v6) = destinations.usual(&own);
    InterfaceState {
        primary_v4,
        primary_v6,
        ..InterfaceState::new(Mac(interface.mac), interface.mtu, cli.mss, cli.window)
    }
}

fn load(
    interface: &Interface,
    mode: AttachMode,
    settings: ProgramSettings,
    link: &InterfaceState,
    filters: &Filters,
    then: &ActionByPort,
) -> Result<TcpBounceSkel<'static>, Error> {
    let offload = (mode == AttachMode::Hw).then_some(interface.index);
    loader::load(settings, link, filters, then, offload).map_err(|error| match error {
        // The offload device is named at load, so a driver without offload refuses there.
        Error::Load { source, .. } if offload.is_some() => refused(interface, mode, source.into()),
        error => error,
    })
}

fn attach(
    interface: &Interface,
    mode: AttachMode,
    settings: ProgramSettings,
    link: &InterfaceState,
    filters: &Filters,
    then: &ActionByPort,
) -> Result<(TcpBounceSkel<'static>, Attachment), Error> {
    let program = load(interface, mode, settings, link, filters, then)?;
    let attachment = Attachment::new(program.progs.tcp_bounce.as_fd(), interface, mode)
        .map_err(|source| attach_error(interface, mode, source))?;
    Ok((program, attachment))
}

/// The kernel gives no more than an errno; what it means depends on what was asked.
fn attach_error(interface: &Interface, mode: AttachMode, source: io::Error) -> Error {
    match source.raw_os_error().map(Errno::from_raw) {
        // Somebody was faster than we.
        Some(Errno::EBUSY) => check_vacant(interface).err().unwrap_or_else(|| refused(interface, mode, source.into())),
        // Or one above it has a program: see `dev_xdp_attach` of Linux.
        Some(Errno::EEXIST) => {
            check_vacant(interface).and_then(|()| occupied_above(interface)).unwrap_or_else(|error| error)
        }
        Some(Errno::ENODEV) => Error::Removed { interface: interface.name.clone() },
        Some(Errno::EPERM | Errno::EACCES) => Error::Attach { interface: interface.name.clone(), mode, source },
        _ => refused(interface, mode, source.into()),
    }
}

fn refused(interface: &Interface, mode: AttachMode, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Refused { interface: interface.name.clone(), mode, source }
}
