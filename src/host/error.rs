//! Errors of reading the host, and the reasons why an interface, the kernel or the process cannot run tcp-bounce.

use std::io;

use caps::Capability;

use crate::diagnosis;

/// The host's state cannot be read, or the host does not meet a requirement of tcp-bounce.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No interface in the network namespace has this name.
    #[error("no interface named {name:?}")]
    NoSuchInterface {
        /// The name that was looked up.
        name: String,
        /// The names of all interfaces in the network namespace.
        names: Vec<String>,
    },
    /// Two of the configured names refer to one interface.
    #[error("interface {name} is named twice")]
    NamedTwice {
        /// The primary name of the interface.
        name: String,
    },
    /// The interface is the loopback interface.
    #[error("{name} is the loopback interface, and tcp-bounce never answers the host itself")]
    Loopback {
        /// The name of the interface.
        name: String,
    },
    /// The frames of the interface have no Ethernet header.
    #[error("{name} is not an Ethernet interface")]
    NotEthernet {
        /// The name of the interface.
        name: String,
    },
    /// The process lacks capabilities that loading and attaching the program require.
    #[error("missing {}", list(missing))]
    MissingCapabilities {
        /// The missing capabilities.
        missing: Vec<Capability>,
    },
    /// The kernel has no bpf_link for XDP, which came with Linux 5.9.
    #[error("Linux {release} is too old: tcp-bounce needs Linux 5.9 or newer")]
    KernelTooOld {
        /// The kernel release (`uname -r`).
        release: String,
    },
    /// The netlink dump of interfaces failed.
    #[error("cannot list the network interfaces")]
    ListInterfaces(#[source] io::Error),
    /// The netlink dump of addresses failed.
    #[error("cannot list the IP addresses of this host")]
    ListAddresses(#[source] io::Error),
    /// The sock_diag dump of listening sockets failed.
    #[error("cannot list the local listeners")]
    ListListeners(#[source] io::Error),
    /// The sock_diag dump of established connections failed.
    #[error("cannot list the established connections that --takeover affects")]
    ListConnections(#[source] io::Error),
}

impl HostError {
    /// Returns the hint for the user, if the error has one.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            // In `--ports 80 443`, the second port is taken for an interface.
            Self::NoSuchInterface { name, .. } if name.parse::<u16>().is_ok() => {
                "separate ports with commas and without spaces, as in --ports 80,443"
            }
            Self::NoSuchInterface { names, .. } => return Some(format!("available interfaces: {}", names.join(", "))),
            Self::NamedTwice { name } => {
                return Some(format!("name it once; `ip link show dev {name}` shows its alternative names (altname)"));
            }
            Self::Loopback { .. } => "use two network namespaces to try tcp-bounce on one machine, as `make demo` does",
            Self::NotEthernet { .. } => "use an interface that `ip link` lists with link/ether",
            Self::MissingCapabilities { .. } => {
                "use sudo or setcap; AmbientCapabilities= in a systemd service, --cap-add with docker"
            }
            Self::KernelTooOld { .. } => "upgrade the kernel: older versions have no bpf_link for XDP",
            Self::ListListeners(error) | Self::ListConnections(error) if error.kind() == io::ErrorKind::NotFound => {
                "run `modprobe tcp_diag`: the kernel needs this module to list sockets"
            }
            Self::ListInterfaces(_) | Self::ListAddresses(_) | Self::ListListeners(_) | Self::ListConnections(_) => {
                return diagnosis::memory_hint(self);
            }
        };
        Some(hint.to_owned())
    }
}

/// Returns the names of `capabilities` after a noun in the singular or plural.
fn list(capabilities: &[Capability]) -> String {
    let noun = if capabilities.len() == 1 { "capability" } else { "capabilities" };
    let names: Vec<String> = capabilities.iter().map(Capability::to_string).collect();
    format!("{noun}: {}", names.join(", "))
}
