//! The hosts to probe: their names, resolved once, and the addresses of both sides.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};

use super::ProbeError;

/// A port for the choice of a source address. Nothing is sent to it.
const ANY_PORT: u16 = 9;

/// The IP version to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// The version of the first address of a name.
    #[default]
    Any,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Returns the name of the IP version.
    fn version(self) -> &'static str {
        match self {
            Self::Any => "IP",
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    fn includes(self, address: &SocketAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }
}

/// A host to probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name or address, as the user wrote it.
    pub host: String,
    /// The address, with the scope of a link-local address. The port has no meaning.
    address: SocketAddr,
    /// The address that this host uses as a source for this target. `None` if there is no route.
    pub source: Option<IpAddr>,
}

impl Target {
    /// Resolves `host`, a name or an address, and takes its first address of the `family`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Resolve`] or [`ProbeError::NoAddress`].
    pub fn resolve(host: &str, family: Family) -> Result<Self, ProbeError> {
        // An IPv6 address may be in brackets, as in a URL.
        let name = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let failed = |source| ProbeError::Resolve { host: host.to_owned(), source };
        if name.is_empty() {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "the name is empty")));
        }
        let addresses: Vec<SocketAddr> = (name, 0).to_socket_addrs().map_err(failed)?.map(canonical).collect();
        let address = addresses.iter().find(|address| family.includes(address));
        let version = family.version();
        let address = address.ok_or_else(|| ProbeError::NoAddress { host: host.to_owned(), version })?;
        Ok(Self::new(host, *address))
    }

    /// Creates a target with a known address.
    fn new(host: &str, address: SocketAddr) -> Self {
        Self { host: host.to_owned(), address, source: source(address).ok() }
    }

    /// Returns the address.
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// Returns the address with a port, to connect to.
    pub fn endpoint(&self, port: u16) -> SocketAddr {
        let mut address = self.address;
        address.set_port(port);
        address
    }

    /// Returns the name, followed by the address if the name is not the address.
    pub fn title(&self) -> String {
        let address = self.ip().to_string();
        if self.host == address { address } else { format!("{} ({address})", self.host) }
    }
}

/// Returns the IPv4 address in an IPv4-mapped one, which the kernel connects to over IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Returns the source address of packets to `address`.
fn source(address: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    let mut address = address;
    address.set_port(ANY_PORT);
    socket.connect(address)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_no_resolution() {
        for (host, title) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("[::1]", "[::1] (::1)"),
            ("0:0:0:0:0:0:0:1", "0:0:0:0:0:0:0:1 (::1)"),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1 (127.0.0.1)"),
        ] {
            let target = Target::resolve(host, Family::Any).unwrap();
            assert_eq!(target.title(), title);
            assert_eq!(target.endpoint(80), SocketAddr::new(target.ip(), 80));
        }
    }

    #[test]
    fn the_family_selects_the_address() {
        assert!(Target::resolve("127.0.0.1", Family::V4).is_ok());
        assert!(matches!(Target::resolve("127.0.0.1", Family::V6), Err(ProbeError::NoAddress { .. })));
        assert!(matches!(Target::resolve("::1", Family::V4), Err(ProbeError::NoAddress { .. })));
        assert!(matches!(Target::resolve("", Family::Any), Err(ProbeError::Resolve { .. })));
    }
}
