//! The metrics server (`--metrics`), which serves the counters to Prometheus over HTTP.

mod connection;
mod page;
mod response;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::connection::Connection;
use self::page::{Page, PageEncoder};
use super::TelemetryError;
use crate::config::MetricsAddress;
use crate::responder::Sample;

/// The most open connections. A further one replaces the oldest.
const MAX_CONNECTIONS: usize = 64;

/// The most connections that the server accepts before it serves those that it has.
const MAX_ACCEPTS: usize = 16;

/// The wait after an error that may persist, such as a lack of descriptors.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// The page that is served now.
type SharedPage = Arc<Mutex<Arc<Page>>>;

/// Serves the page that was published last, for as long as the process runs.
pub struct MetricsServer {
    encoder: PageEncoder,
    page: SharedPage,
}

impl MetricsServer {
    /// Listens on `address`. Nothing is accepted before [`Self::start`].
    ///
    /// # Errors
    ///
    /// [`TelemetryError::Metrics`] if the address is not available.
    pub fn bind(MetricsAddress(address): MetricsAddress) -> Result<TcpListener, TelemetryError> {
        let listener = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        listener.map_err(|source| TelemetryError::Metrics { address, source })
    }

    /// Starts the thread that serves connections of `listener`. It has the privileges of the calling thread.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn start(listener: TcpListener) -> io::Result<Self> {
        let encoder = PageEncoder::new().map_err(io::Error::other)?;
        let page = Arc::new(Mutex::new(Arc::new(encoder.encode(&[]))));
        let mut acceptor = Acceptor { listener, page: Arc::clone(&page), connections: VecDeque::new() };
        let serve = move || {
            loop {
                acceptor.turn();
            }
        };
        thread::Builder::new().name("metrics".to_owned()).spawn(serve)?;
        Ok(Self { encoder, page })
    }

    /// Replaces the page.
    pub fn publish(&self, samples: &[Sample]) {
        let page = Arc::new(self.encoder.encode(samples));
        *lock(&self.page) = page;
    }
}

/// Accepts connections and serves them in one thread.
///
/// Sockets do not block, so a slow client delays no other. A connection that sends nothing holds its place until its
/// deadline passes or a new connection needs the place.
struct Acceptor {
    listener: TcpListener,
    page: SharedPage,
    /// The open connections, the oldest first.
    connections: VecDeque<Connection>,
}

impl Acceptor {
    /// Waits for something to do, and does it.
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
            // Rounding down would poll in vain for the last millisecond.
            let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        poll(&mut sockets, timeout.unwrap_or(PollTimeout::NONE)).map(drop)
    }

    /// Accepts connections that wait. Each takes the place of the oldest one if the table is full.
    fn accept(&mut self, now: Instant) {
        for _ in 0..MAX_ACCEPTS {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => continue,
                Err(error) => {
                    // Closing a connection frees descriptors and memory. Other errors are those of the network.
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
