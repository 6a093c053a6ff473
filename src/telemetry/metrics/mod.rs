//! The metrics server (`--metrics-listen`): serves the counters to Prometheus over HTTP.

mod connection;
mod listen;
mod page;
mod response;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::connection::Connection;
use self::listen::listen_on;
use self::page::{Page, PageEncoder};
use super::TelemetryError;
use crate::config::MetricsAddress;
use crate::responder::Sample;

/// The maximum number of open connections. At the limit, a new connection replaces the oldest one.
const MAX_CONNECTIONS: usize = 64;

/// The maximum number of connections to accept before the open connections are served.
const MAX_ACCEPTS: usize = 16;

/// The wait after an error that may persist, such as a lack of file descriptors.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// The current page. The server thread serves it, and the main thread replaces it.
type SharedPage = Arc<Mutex<Arc<Page>>>;

/// Serves the most recently published page until the process ends.
pub struct MetricsServer {
    address: SocketAddr,
    encoder: PageEncoder,
    page: SharedPage,
}

impl MetricsServer {
    /// Listens on `address`. Connections are accepted once [`Self::start`] is called.
    ///
    /// # Errors
    ///
    /// [`TelemetryError::Metrics`] if the address is not available.
    pub fn bind(MetricsAddress(address): MetricsAddress) -> Result<TcpListener, TelemetryError> {
        let listener = listen_on(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        listener.map_err(|source| TelemetryError::Metrics { address, source })
    }

    /// Starts the thread that serves connections to `listener`. The thread inherits the caller's privileges.
    ///
    /// # Errors
    ///
    /// The metrics cannot be registered, the address cannot be read, or the thread cannot be started.
    pub fn start(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let encoder = PageEncoder::new().map_err(io::Error::other)?;
        let page = Arc::new(Mutex::new(Arc::new(encoder.encode(&[]))));
        let mut acceptor = Acceptor { listener, page: Arc::clone(&page), connections: VecDeque::new() };
        let serve = move || {
            loop {
                acceptor.turn();
            }
        };
        thread::Builder::new().name("metrics".to_owned()).spawn(serve)?;
        Ok(Self { address, encoder, page })
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the page with the counters of `samples`.
    pub fn publish(&self, samples: &[Sample]) {
        let page = Arc::new(self.encoder.encode(samples));
        *lock(&self.page) = page;
    }
}

/// Accepts connections and serves them in one thread.
///
/// The sockets are nonblocking, so a slow client does not delay the others. An idle connection is closed when its
/// deadline passes, or when a new connection replaces it.
struct Acceptor {
    listener: TcpListener,
    page: SharedPage,
    /// The open connections, the oldest first.
    connections: VecDeque<Connection>,
}

impl Acceptor {
    /// Waits for a ready socket or a deadline, accepts new connections, and advances all connections.
    fn turn(&mut self) {
        if self.wait().is_err() {
            thread::sleep(RETRY_INTERVAL);
        }
        let now = Instant::now();
        self.accept(now);
        let page = Arc::clone(&lock(&self.page));
        self.connections.retain_mut(|connection| connection.advance(&page, now));
    }

    /// Waits until a socket is ready or a deadline passes.
    fn wait(&self) -> nix::Result<()> {
        let mut sockets = vec![PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        sockets.extend(self.connections.iter().map(Connection::poll_fd));
        let timeout = self.connections.iter().map(Connection::deadline).min().map(|deadline| {
            // `poll` has a resolution of a millisecond. Rounding down would make the last millisecond a busy loop.
            let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        poll(&mut sockets, timeout.unwrap_or(PollTimeout::NONE)).map(drop)
    }

    /// Accepts up to [`MAX_ACCEPTS`] pending connections. If [`MAX_CONNECTIONS`] are open, each new connection replaces
    /// the oldest one.
    fn accept(&mut self, now: Instant) {
        for _ in 0..MAX_ACCEPTS {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => continue,
                Err(error) => {
                    // Closing a connection frees a descriptor and memory, but does not resolve other errors.
                    let is_lack = matches!(
                        error.raw_os_error().map(Errno::from_raw),
                        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)
                    );
                    if !is_lack || self.connections.pop_front().is_none() {
                        thread::sleep(RETRY_INTERVAL);
                    }
                    return;
                }
            };
            if self.connections.len() >= MAX_CONNECTIONS {
                self.connections.pop_front();
            }
            self.connections.extend(Connection::new(stream, now).ok());
        }
    }
}

fn lock(page: &Mutex<Arc<Page>>) -> MutexGuard<'_, Arc<Page>> {
    page.lock().unwrap_or_else(PoisonError::into_inner)
}
