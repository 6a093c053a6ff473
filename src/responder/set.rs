//! The responders of a run, one for each interface, which are updated together.

use std::os::fd::AsFd as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tcp_bounce_wire::Isn;

use super::grace::GraceTimes;
use super::retry::{Reaction, RetryWindow};
use super::{Exclusions, HostSnapshot, ProgramPlan, Responder, ResponderError, Sample, Scope, mode, parallel, plan};
use crate::config::Config;
use crate::host::{Interface, TcpSettings};
use crate::xdp::{ClientTables, SocketTracker, TcpBounceSkel, TrackingError, XdpError};

/// The time between two refreshes of the responders during a run.
const REFRESH_INTERVAL: Duration = Duration::from_millis(500);
const _: () = assert!(REFRESH_INTERVAL.as_millis() <= 1000, "a new listener is excluded within two seconds");

/// The time for which failures to read the host are retried. A failure after that ends the run.
pub const RETRY_TIME: Duration = Duration::from_secs(60);

/// Calls `tick` every [`REFRESH_INTERVAL`] until the run ends.
///
/// The run ends when a message arrives on `stop`, all its senders are dropped, `deadline` passes, or `tick` fails.
///
/// # Errors
///
/// The error of `tick`.
pub fn tick_until<E>(
    stop: &Receiver<()>,
    deadline: Option<Instant>,
    mut tick: impl FnMut() -> Result<(), E>,
) -> Result<(), E> {
    loop {
        let left = deadline.map_or(REFRESH_INTERVAL, |deadline| deadline.saturating_duration_since(Instant::now()));
        match stop.recv_timeout(left.min(REFRESH_INTERVAL)) {
            Err(RecvTimeoutError::Timeout) if left > REFRESH_INTERVAL || deadline.is_none() => tick()?,
            _ => return Ok(()),
        }
    }
}

/// The responders of all interfaces of a run.
pub struct ResponderSet {
    config: Config,
    isn: Isn,
    responders: Vec<Responder>,
    /// The tracker of the host's sockets. `None` under takeover, which does not spare them.
    sockets: Option<Sockets>,
    exclusions: Exclusions,
    tcp_settings: Option<TcpSettings>,
    retries: RetryWindow,
}

/// The tracker of the host's sockets, and the grace times of its closed listeners.
struct Sockets {
    tracker: SocketTracker,
    graces: GraceTimes,
}

/// A change that a [`ResponderSet`] reports.
#[derive(Debug)]
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
    /// The state of the host cannot be read, for this reason. The programs keep answering with the last known state.
    Unreadable(ResponderError),
    /// The host can be read again, after [`Change::Unreadable`].
    Readable,
}

impl ResponderSet {
    /// Creates an empty set, and starts to track the host's sockets, except under takeover. `config` and `isn`
    /// configure the responders that are added later.
    ///
    /// # Errors
    ///
    /// The error of [`SocketTracker::start`].
    pub fn new(config: &Config, isn: Isn) -> Result<Self, ResponderError> {
        let scope = &config.scope;
        let sockets = (!scope.takeover).then(|| Sockets::track(scope.listener_grace)).transpose()?;
        Ok(Self {
            config: config.clone(),
            isn,
            responders: Vec::new(),
            sockets,
            exclusions: Exclusions::default(),
            tcp_settings: None,
            retries: RetryWindow::new(RETRY_TIME),
        })
    }

    /// Returns the reason why the kernel does not record the host's sockets, if it does not.
    pub fn tracking_error(&self) -> Option<&TrackingError> {
        self.sockets.as_ref().and_then(|sockets| sockets.tracker.error())
    }

    /// Loads a program for each of `interfaces` in parallel, then attaches the programs in order. Returns false if
    /// `is_stopped` returned true meanwhile.
    ///
    /// If the result is false or an error, the set may be incomplete. Dropping it detaches its programs.
    ///
    /// # Errors
    ///
    /// The error of [`HostSnapshot::read`] or [`plan::service_tables`], or the error of [`ProgramPlan::new`],
    /// [`mode::load`] or [`Responder::start`] for the first interface that has one.
    pub fn attach(&mut self, interfaces: &[Interface], is_stopped: impl Fn() -> bool) -> Result<bool, ResponderError> {
        let snapshot = HostSnapshot::read(&self.config.scope)?;
        let services = plan::service_tables(&self.config, self.isn)?;
        let plan = |interface: &Interface| {
            ProgramPlan::new(interface.clone(), &self.config, self.isn, &snapshot, services.clone())
        };
        let plans = interfaces.iter().map(plan).collect::<Result<Vec<_>, _>>()?;
        let local_ports = self.sockets.as_ref().map(|sockets| sockets.tracker.as_fd());
        let load = |plan: &ProgramPlan| mode::load(plan, local_ports);
        let Some(loaded) = parallel::run(&plans, load, &is_stopped)? else { return Ok(false) };
        for (plan, loaded) in plans.into_iter().zip(loaded) {
            if is_stopped() {
                return Ok(false);
            }
            self.responders.push(Responder::start(plan, loaded, local_ports)?);
        }
        Ok(!is_stopped())
    }

    /// Reads the host and updates every program. Returns the snapshot, and the changes since the previous snapshot.
    ///
    /// # Errors
    ///
    /// The state of the host cannot be read, or a program is no longer attached or cannot be updated.
    pub fn refresh(&mut self) -> Result<(HostSnapshot, Vec<Change>), ResponderError> {
        let now = Instant::now();
        // The upkeep of the table does not depend on the rest of the host's state.
        self.sockets.iter_mut().for_each(|sockets| sockets.tracker.tick(now));
        let mut snapshot = HostSnapshot::read(&self.config.scope)?;
        if let Some(sockets) = &mut self.sockets {
            sockets.update_graces(&mut snapshot.exclusions, &self.exclusions, now);
        }
        let mut changes = Vec::new();
        for responder in &mut self.responders {
            if responder.refresh(&snapshot)? {
                let interface = responder.interface().name.clone();
                changes.push(Change::Scope { interface, scope: responder.scope().clone() });
            }
        }
        self.tcp_settings = snapshot.tcp_settings.clone().or(self.tcp_settings.take());
        if snapshot.exclusions != self.exclusions {
            self.exclusions = snapshot.exclusions.clone();
            changes.push(Change::Exclusions(self.exclusions.clone()));
        }
        Ok((snapshot, changes))
    }

    /// Refreshes the set, and returns the changes. Failures to read the host are tolerated for [`RETRY_TIME`].
    ///
    /// # Errors
    ///
    /// The host could not be read for [`RETRY_TIME`], or a program is no longer attached or cannot be updated.
    pub fn follow(&mut self) -> Result<Vec<Change>, ResponderError> {
        match self.refresh() {
            Ok((_, mut changes)) => {
                if self.retries.record_success() {
                    changes.insert(0, Change::Readable);
                }
                Ok(changes)
            }
            Err(error) if error.is_transient() => {
                // The links can be checked without reading the host.
                self.responders.iter().try_for_each(Responder::check_attached)?;
                match self.retries.record_failure(Instant::now()) {
                    Reaction::Warn => Ok(vec![Change::Unreadable(error)]),
                    Reaction::Retry => Ok(Vec::new()),
                    Reaction::GiveUp => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the excluded ports as of the last refresh.
    pub fn exclusions(&self) -> &Exclusions {
        &self.exclusions
    }

    /// Returns the TCP settings of the kernel as of the last refresh. `None` if they could never be read.
    pub fn tcp_settings(&self) -> Option<&TcpSettings> {
        self.tcp_settings.as_ref()
    }

    /// Returns the responders, in the order in which they were attached.
    pub fn responders(&self) -> &[Responder] {
        &self.responders
    }

    /// Maps the client tables of all programs into memory.
    ///
    /// # Errors
    ///
    /// [`XdpError::ClientTables`] if a table cannot be mapped.
    pub fn client_tables(&self) -> Result<ClientTables, XdpError> {
        // All programs have the same settings. The settings are not computed again, because an unprivileged process
        // cannot read the number of CPUs.
        let settings = self.responders.first().map(Responder::telemetry).unwrap_or_default();
        let programs = self.responders.iter().map(Responder::program);
        ClientTables::new(programs, settings).map_err(XdpError::ClientTables)
    }

    /// Reads the packet counters and event counts of every interface.
    ///
    /// # Errors
    ///
    /// [`XdpError::Maps`] if the kernel denies reading the maps.
    pub fn samples(&self) -> Result<Vec<Sample>, XdpError> {
        self.responders.iter().map(Responder::sample).collect()
    }

    /// Detaches all programs and returns them. Their maps stay readable.
    pub fn detach(self) -> Vec<TcpBounceSkel<'static>> {
        self.responders.into_iter().map(Responder::detach).collect()
    }
}

impl Sockets {
    /// Starts to track the host's sockets. Closed listeners get this `grace` time.
    ///
    /// # Errors
    ///
    /// The error of [`SocketTracker::start`].
    fn track(grace: Duration) -> Result<Self, XdpError> {
        let tracker = SocketTracker::start()?;
        let graces = GraceTimes::new(grace, tracker.table());
        Ok(Self { tracker, graces })
    }

    /// Updates the grace times, and adds the listeners of `earlier` that are in a grace time to `exclusions`.
    fn update_graces(&mut self, exclusions: &mut Exclusions, earlier: &Exclusions, now: Instant) {
        let vanished: Vec<u16> = exclusions.vanished_listeners(earlier).collect();
        self.graces.update(self.tracker.table(), vanished.iter().copied(), now);
        exclusions.add_listeners(vanished.into_iter().filter(|&port| self.graces.contains(port)));
    }
}
