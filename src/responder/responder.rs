//! A responder: the XDP program on one interface, which is attached and then updated.

use std::os::fd::BorrowedFd;

use tcp_bounce_wire::{Counters, EventCounts, TelemetrySettings};

use super::mode::{self, Loaded};
use super::{HostSnapshot, ProgramPlan, ResponderError, Scope};
use crate::config::AttachMode;
use crate::host::Interface;
use crate::xdp::{TcpBounceSkel, XdpError, XdpLink, counters, event_ring};

/// The XDP program on one interface. It is detached when this value is dropped.
pub struct Responder {
    interface: Interface,
    mode: AttachMode,
    /// The reason for the mode, if the user should know it.
    remark: Option<String>,
    has_fragments: bool,
    link: XdpLink,
    program: TcpBounceSkel<'static>,
    plan: ProgramPlan,
}

/// The counters of one interface at one point in time.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The name that the interface had when the program was attached.
    pub interface: String,
    /// The mode that the program is attached in.
    pub mode: AttachMode,
    /// The packets since the program was attached, by verdict.
    pub counters: Counters,
    /// The event counts since the program was attached, if events are enabled.
    pub events: Option<EventCounts>,
}

impl Responder {
    /// Attaches a program that [`mode::load`] returned for `plan` and `local_ports`.
    ///
    /// # Errors
    ///
    /// The error of [`mode::attach`].
    pub fn start(
        mut plan: ProgramPlan,
        loaded: Loaded,
        local_ports: Option<BorrowedFd>,
    ) -> Result<Self, ResponderError> {
        let attached = mode::attach(&plan, loaded, local_ports)?;
        plan.free_services();
        let mode::Attached { mode, remark, has_fragments, program, link } = attached;
        Ok(Self { interface: plan.interface().clone(), mode, remark, has_fragments, link, program, plan })
    }

    /// Checks that the program is still attached, and updates it from `snapshot`. Returns whether the scope changed.
    ///
    /// # Errors
    ///
    /// [`ResponderError::Removed`] or [`ResponderError::Detached`] if the program is no longer attached; otherwise the
    /// error of [`ProgramPlan::update`].
    pub fn refresh(&mut self, snapshot: &HostSnapshot) -> Result<bool, ResponderError> {
        let Some(interface) = snapshot.interfaces.iter().find(|other| other.index == self.interface.index) else {
            return Err(ResponderError::Removed { interface: self.interface.name.clone() });
        };
        self.check_attached()?;
        self.plan.update(interface, snapshot, &self.program)
    }

    /// Checks that the program is still attached.
    ///
    /// # Errors
    ///
    /// - [`ResponderError::Removed`] if the interface no longer exists in this network namespace.
    /// - [`ResponderError::Detached`] if another process detached the program.
    /// - [`XdpError::QueryLink`] if the link cannot be queried.
    pub fn check_attached(&self) -> Result<(), ResponderError> {
        let name = || self.interface.name.clone();
        match self.link.is_attached() {
            Ok(true) => Ok(()),
            // The kernel also detaches the link if the interface is removed.
            Ok(false) => match Interface::exists(self.interface.index) {
                Ok(false) => Err(ResponderError::Removed { interface: name() }),
                _ => Err(ResponderError::Detached { interface: name() }),
            },
            Err(source) => Err(XdpError::QueryLink { interface: name(), source }.into()),
        }
    }

    /// Returns the interface as it was when the program was planned. It may have been renamed since.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Returns the mode that the program is attached in.
    pub fn mode(&self) -> AttachMode {
        self.mode
    }

    /// Returns the reason for the mode, if the user should know it.
    pub fn remark(&self) -> Option<&str> {
        self.remark.as_deref()
    }

    /// Returns whether the program supports multi-buffer frames.
    pub fn has_fragments(&self) -> bool {
        self.has_fragments
    }

    /// Returns the destination addresses that are answered.
    pub fn scope(&self) -> &Scope {
        self.plan.scope()
    }

    /// Returns the telemetry settings that the program was loaded with.
    pub fn telemetry(&self) -> TelemetrySettings {
        self.plan.telemetry()
    }

    /// Returns the loaded program, with its maps.
    pub fn program(&self) -> &TcpBounceSkel<'static> {
        &self.program
    }

    /// Detaches the program and returns it. Its maps stay readable.
    pub fn detach(self) -> TcpBounceSkel<'static> {
        self.program
    }

    /// Reads the packet counters and event counts of the program.
    ///
    /// # Errors
    ///
    /// [`XdpError::Maps`] if the kernel denies reading the maps.
    pub fn sample(&self) -> Result<Sample, XdpError> {
        let counters = counters::read(&self.program).map_err(XdpError::Maps)?;
        let has_events = self.program.maps.EVENTS.autocreate();
        let events = has_events.then(|| event_ring::counts(&self.program)).transpose().map_err(XdpError::Maps)?;
        Ok(Sample { interface: self.interface.name.clone(), mode: self.mode, counters, events })
    }
}
