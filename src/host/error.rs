//! Errors of reading the host, and the reasons why an interface, the kernel or the process cannot run tcp-bounce.

use std::io;

use caps::Capability;

use crate::diagnosis;

/// The host's state cannot be read, or the host does not meet a requirement of tcp-bounce.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No interface in the network namespace has this name.
    #[error("there is no interface {name:?}")]
    NoSuchInterface {
        /// The name that was looked up.
        name: String,
        /// The names of all interfaces in the network namespace.
        names: Vec<String>,
    },
    /// Two of the configured names refer to one interface.
    #[error("{name} is named twice")]
    NamedTwice {
        /// The primary name of the interface.
        name: String,
    },
    /// The interface is the loopback interface.
    #[error("{name} is the loopback interface: there every packet comes from the host itself, which is never answered")]
    Loopback {
        /// The name of the interface.
        name: String,
    },
    /// The frames of the interface have no Ethernet header.
    #[error("{name} is no Ethernet interface")]
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
    #[error("the kernel is too old: this is {release}")]
    KernelTooOld {
        /// The kernel release (`uname -r`).
        release: String,
    },
    /// The netlink dump of interfaces failed.
    #[error("cannot list the network interfaces")]
    ListInterfaces(#[source] io::Error),
    /// The netlink dump of addresses failed.
    #[error("cannot list the addresses of the network interfaces")]
    ListAddresses(#[source] io::Error),
    /// The sock_diag dump of listening sockets failed.
    #[error("cannot list the ports that the host listens on")]
    ListListeners(#[source] io::Error),
    /// The sock_diag dump of established connections failed.
    #[error("cannot list the connections that --takeover will cut")]
    ListConnections(#[source] io::Error),
}

impl HostError {
    /// Returns the hint for the user, if the error has one.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoSuchInterface { names, .. } => return Some(format!("there are {}", names.join(", "))),
            Self::NamedTwice { .. } => {
                "leave one out; an interface may have other names, like those that `ip link` shows as altname"
            }
            Self::Loopback { .. } => "try it between two network namespaces, as `make demo` does",
            Self::NotEthernet { .. } => "only interfaces with Ethernet headers are supported",
            Self::MissingCapabilities { .. } => {
                "run it as root, with sudo for example, or as another user with these capabilities: by setpriv or setcap, or as a service"
            }
            Self::KernelTooOld { .. } => "XDP links, which detach when the process ends, came with Linux 5.9",
            Self::ListListeners(error) if error.kind() == io::ErrorKind::NotFound => {
                "this needs the kernel modules inet_diag and tcp_diag: `modprobe tcp_diag`"
            }
            Self::ListInterfaces(_) | Self::ListAddresses(_) | Self::ListListeners(_) | Self::ListConnections(_) => {
                return diagnosis::memory_hint(self);
            }
        };
        Some(hint.to_owned())
    }
}

fn list(capabilities: &[Capability]) -> String {
    capabilities.iter().map(Capability::to_string).collect::<Vec<_>>().join(", ")
}
