//! Errors of responders: the program cannot be attached, or is no longer attached.

use std::io;

use crate::config::{AttachMode, ConfigError};
use crate::diagnosis;
use crate::host::HostError;
use crate::xdp::{AttachedProgram, XdpError};

/// The program cannot be attached or updated, or is no longer attached.
#[derive(Debug, thiserror::Error)]
pub enum ResponderError {
    /// Another XDP program is attached to the interface.
    #[error("an XDP program is already attached to {interface}: {program}")]
    Occupied {
        /// The name of the interface.
        interface: String,
        /// The other program.
        program: AttachedProgram,
    },
    /// Another XDP program is attached to an upper device, so the kernel refuses a program on the interface below.
    #[error("cannot attach to {interface}: an XDP program is attached to {above} above it: {program}")]
    OccupiedAbove {
        /// The name of the interface.
        interface: String,
        /// The name of the upper device.
        above: String,
        /// The other program.
        program: AttachedProgram,
    },
    /// The kernel reports a program on an upper device, but a search found none.
    #[error("cannot attach to {interface}: an XDP program is attached to an interface above it")]
    OccupiedSomewhere {
        /// The name of the interface.
        interface: String,
    },
    /// The driver does not support the mode, or not with the current settings of the interface, such as its MTU.
    #[error("the driver of {interface} refuses {mode} mode")]
    Refused {
        /// The name of the interface.
        interface: String,
        /// The requested mode.
        mode: AttachMode,
        /// The error of `BPF_LINK_CREATE` or `BPF_PROG_LOAD`.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kernel denies attaching (`EPERM` or `EACCES`), for example because of a security module.
    #[error("cannot attach to {interface} in {mode} mode")]
    Attach {
        /// The name of the interface.
        interface: String,
        /// The requested mode.
        mode: AttachMode,
        /// The error of `BPF_LINK_CREATE`.
        source: io::Error,
    },
    /// The interface was removed or moved to another network namespace.
    #[error("{interface} was removed or moved to another network namespace")]
    Removed {
        /// The name that the interface had.
        interface: String,
    },
    /// Another process detached the program.
    #[error("another process detached the program from {interface}")]
    Detached {
        /// The name of the interface.
        interface: String,
    },
    /// An address set of the program has no room for all prefixes.
    #[error("{origin} has {count} separate address ranges, but at most {most} are supported")]
    TooManyPrefixes {
        /// The option that lists the prefixes, or "the interface" for its own addresses.
        origin: &'static str,
        /// The number of address ranges, after overlapping and adjacent prefixes are merged.
        count: usize,
        /// The capacity of the set, in ranges.
        most: usize,
    },
    /// The memory for the program's filters cannot be allocated.
    #[error("out of memory")]
    OutOfMemory,
    /// A setting contradicts another one, or the key cannot be read or generated.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The host's state cannot be read, or the host does not meet a requirement of tcp-bounce.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The program cannot be loaded, or its maps cannot be accessed.
    #[error(transparent)]
    Xdp(#[from] XdpError),
}

impl ResponderError {
    /// Returns advice on how to resolve the error, if there is any.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Occupied { interface, program } | Self::OccupiedAbove { above: interface, program, .. } => {
                return Some(program.hint(interface));
            }
            Self::OccupiedSomewhere { .. } => "run `bpftool net show` to list the XDP programs of all interfaces",
            Self::Refused { mode: AttachMode::Native, .. } => {
                "use --mode skb, which works with every driver, but is slower"
            }
            Self::Refused { mode: AttachMode::Hw, .. } => "use --mode auto, which selects a supported mode",
            Self::Refused { mode: AttachMode::Skb, .. } => "run `dmesg | tail`: the kernel log may have the reason",
            Self::Attach { .. } => "run `dmesg | tail`: a security module may deny it",
            Self::Removed { .. } => {
                "nothing is attached any more; start tcp-bounce again on an interface that `ip link` lists"
            }
            Self::Detached { .. } => {
                "nothing is attached any more; start tcp-bounce again if `bpftool net show` lists no other program"
            }
            Self::TooManyPrefixes { .. } => "use --dst to select the addresses to answer for",
            Self::OutOfMemory => diagnosis::MEMORY_HINT,
            Self::Config(error) => return error.hint(),
            Self::Host(error) => return error.hint(),
            Self::Xdp(error) => return error.hint(),
        };
        Some(hint.to_owned())
    }

    /// Returns whether the error is a failure to read the host, and may be temporary.
    ///
    /// Examples are a lack of file descriptors, and a netlink dump that concurrent changes kept interrupting.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Host(HostError::ListInterfaces(_) | HostError::ListAddresses(_) | HostError::ListListeners(_))
        )
    }

    /// Returns the messages of libbpf, if loading the program failed. Otherwise the slice is empty.
    pub fn libbpf_messages(&self) -> &[String] {
        if let Self::Xdp(error) = self { error.libbpf_messages() } else { &[] }
    }
}
