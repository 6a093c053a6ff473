//! What the service manager is told, where there is one (`sd_notify(3)`).

use std::env;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A service manager, if there is one.
///
/// Who cannot be reached, or does not listen, is not told, and will notice by itself: nobody waits for that.
pub struct ServiceManager(Option<UnixDatagram>);

impl ServiceManager {
    /// The one that `NOTIFY_SOCKET` names. It is connected to now: later that may not be allowed.
    pub fn from_environment() -> Self {
        let connect = || {
            let name = env::var_os("NOTIFY_SOCKET")?;
            let address = match name.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(name),
            };
            let socket = UnixDatagram::unbound().ok()?;
            socket.connect_addr(&address.ok()?).ok()?;
            socket.set_nonblocking(true).ok()?;
            Some(socket)
        };
        Self(connect())
    }

    /// Reports that all interfaces answer. `status` is shown by `systemctl status`.
    pub fn notify_ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// Nothing is attached any more.
    pub fn notify_stopping(&self) {
        self.tell("STOPPING=1\n");
    }

    fn tell(&self, state: &str) {
        if let Some(socket) = &self.0 {
            let _ = socket.send(state.as_bytes());
        }
    }
}
