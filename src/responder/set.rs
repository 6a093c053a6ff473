//! The responders of a run: one for each interface, started together and refreshed together.

use std::time::Duration;

use tcp_bounce_wire::Isn;

use super::{Exclusions, HostSnapshot, ProgramPlan, Responder, ResponderError, Sample, Scope};
use crate::config::Config;
use crate::host::Interface;
use crate::xdp::{ClientTables, TcpBounceSkel, XdpError};

/// The time between two calls of [`ResponderSet::refresh`].
pub const REFRESH_INTERVAL: Duration = Duration::from_millis(500);
const _: () = assert!(REFRESH_INTERVAL.as_millis() <= 1000, "a new listener is excluded within two seconds");

/// The responders of all interfaces of a run.
pub struct ResponderSet {
    config: Config,
    isn: Isn,
    responders: Vec<Responder>,
    exclusions: Exclusions,
}

/// A change that [`ResponderSet::refresh`] followed.
#[derive(Clone, Debug)]
pub enum Change {
    /// The scope of an interface changed.
    Scope {
        /// The name of the interface.
        interface: String,
        /// The new scope.
        scope: Scope,
    },
    /// The excluded ports changed.
    Exclusions(Exclusions),
}

impl ResponderSet {
    /// Creates a set without responders.
    pub fn new(config: &Config, isn: Isn) -> Self {
        Self { config: config.clone(), isn, responders: Vec::new(), exclusions: Exclusions::default() }
    }

    /// Attaches to `interface`.
    ///
    /// # Errors
    ///
    /// The host cannot be read, or the error of [`Responder::start`].
    pub fn attach(&mut self, interface: &Interface) -> Result<(), ResponderError> {
        // Attaching to the interfaces before may have taken seconds, and listeners change meanwhile.
        let snapshot = HostSnapshot::read(&self.config.scope)?;
        let plan = ProgramPlan::new(interface.clone(), &self.config, self.isn, &snapshot)?;
        self.responders.push(Responder::start(plan)?);
        Ok(())
    }

    /// Reads the host and updates every program. Returns the snapshot and the changes.
    ///
    /// # Errors
    ///
    /// The host cannot be read, or an interface answers no longer.
    pub fn refresh(&mut self) -> Result<(HostSnapshot, Vec<Change>), ResponderError> {
        let snapshot = HostSnapshot::read(&self.config.scope)?;
        let mut changes = Vec::new();
        for responder in &mut self.responders {
            if responder.refresh(&snapshot)? {
                let interface = responder.interface().name.clone();
                changes.push(Change::Scope { interface, scope: responder.scope().clone() });
            }
        }
        if snapshot.exclusions != self.exclusions {
            self.exclusions = snapshot.exclusions.clone();
            changes.push(Change::Exclusions(self.exclusions.clone()));
        }
        Ok((snapshot, changes))
    }

    /// The ports that are excluded now.
    pub fn exclusions(&self) -> &Exclusions {
        &self.exclusions
    }

    /// The responders, in the order of the configured interfaces.
    pub fn responders(&self) -> &[Responder] {
        &self.responders
    }

    /// Maps the tables by port and by client of all programs.
    ///
    /// # Errors
    ///
    /// [`XdpError::ClientTables`] if the kernel denies it.
    pub fn client_tables(&self) -> Result<ClientTables, XdpError> {
        // All plans have these settings in common. They cannot be read again once privileges are dropped.
        let settings = self.responders.first().map(|responder| responder.plan.telemetry()).unwrap_or_default();
        let programs = self.responders.iter().map(Responder::program);
        ClientTables::of(programs, settings).map_err(XdpError::ClientTables)
    }

    /// Reads the counters of every interface.
    ///
    /// # Errors
    ///
    /// [`XdpError::Maps`] if the kernel denies it.
    pub fn samples(&self) -> Result<Vec<Sample>, XdpError> {
        self.responders.iter().map(Responder::sample).collect()
    }

    /// Detaches all programs. Their maps stay readable.
    pub fn detach(self) -> Vec<TcpBounceSkel<'static>> {
        self.responders.into_iter().map(Responder::detach).collect()
    }
}
