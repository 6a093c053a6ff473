//! Notifications for the service manager (`sd_notify(3)`).

use std::env;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The connection to the service manager, if there is one.
///
/// A notification that cannot be sent immediately is dropped. The service manager must neither block nor fail a run.
pub struct ServiceManager(Option<UnixDatagram>);

impl ServiceManager {
    /// Connects to the socket in the environment variable `NOTIFY_SOCKET`. Without a connection, no notifications are
    /// sent.
    ///
    /// Must be called before privileges are dropped: the socket may deny an unprivileged process.
    pub fn from_environment() -> Self {
        Self(connect())
    }

    /// Reports that tcp-bounce answers on all interfaces. `systemctl status` shows the text `status`.
    pub fn notify_ready(&self, status: &str) {
        self.notify(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// Reports that tcp-bounce is stopping. The programs must already be detached from all interfaces.
    pub fn notify_stopping(&self) {
        self.notify("STOPPING=1\n");
    }

    fn notify(&self, state: &str) {
        if let Some(socket) = &self.0 {
            let _ = socket.send(state.as_bytes());
        }
    }
}

fn connect() -> Option<UnixDatagram> {
    let name = env::var_os("NOTIFY_SOCKET")?;
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect_addr(&address.ok()?).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}
