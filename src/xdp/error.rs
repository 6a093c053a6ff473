//! Errors of loading the XDP program and of reading its maps.

use std::io;
use std::path::PathBuf;

use libbpf_rs::ErrorKind;
use nix::sys::resource::{Resource, getrlimit};

use crate::diagnosis;
use crate::host::kernel;

/// A limit of open files below this one is a likely cause of a failure. Each interface takes a few descriptors.
const FILES: u64 = 64;

/// The kernel refused the program or a query, or its maps cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// The verifier rejected the program.
    #[error("the kernel's verifier refuses the program; its log is in {}", log.display())]
    Verifier {
        /// The file with the verifier's log.
        log: PathBuf,
        /// The error of `BPF_PROG_LOAD`.
        source: libbpf_rs::Error,
    },
    /// The program or its maps cannot be loaded.
    #[error("cannot load the program")]
    Load {
        /// The messages of libbpf.
        messages: Vec<String>,
        /// Whether the kernel was built with BTF.
        has_btf: bool,
        /// The error of libbpf.
        source: libbpf_rs::Error,
    },
    /// The kernel does not say which program is attached.
    #[error("cannot see which program is attached to {interface}")]
    Query {
        /// The name of the interface.
        interface: String,
        /// The error of `bpf_xdp_query`.
        source: libbpf_rs::Error,
    },
    /// The kernel does not say whether the link is still attached.
    #[error("cannot see whether the program is still attached to {interface}")]
    QueryLink {
        /// The name of the interface.
        interface: String,
        /// The error of `BPF_OBJ_GET_INFO_BY_FD`.
        source: libbpf_rs::Error,
    },
    /// A map of the program cannot be read or written.
    #[error("cannot reach the maps of the program")]
    Maps(#[source] libbpf_rs::Error),
    /// The tables by port and by client cannot be mapped.
    #[error("cannot read what was counted by port and by client")]
    ClientTables(#[source] io::Error),
}

impl XdpError {
    /// Returns the remedy, if the error has one of its own.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Verifier { .. } => "please report it with that file and the output of `uname -a`",
            Self::Load { has_btf, source, .. } => {
                let memory = diagnosis::memory_hint(self);
                return memory.or_else(|| load_hint(source.kind(), *has_btf).map(str::to_owned));
            }
            Self::Query { .. } | Self::QueryLink { .. } | Self::Maps(_) | Self::ClientTables(_) => {
                return diagnosis::memory_hint(self);
            }
        };
        Some(hint.to_owned())
    }

    /// Returns the messages of libbpf, if there are any.
    pub fn libbpf_messages(&self) -> &[String] {
        if let Self::Load { messages, .. } = self { messages } else { &[] }
    }
}

fn load_hint(kind: ErrorKind, has_btf: bool) -> Option<&'static str> {
    let is_refused = kind == ErrorKind::PermissionDenied;
    if getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(limit, _)| limit < FILES) {
        // libbpf's own message may not name this cause.
        Some("the limit of open files is low: raise it, as by `ulimit -n 1024`")
    } else if is_refused && kernel::limits_locked_memory() {
        // For root, libbpf has raised the limit.
        Some(
            "before Linux 5.11 maps count as locked memory: raise its limit (LimitMEMLOCK=infinity of a service, or `ulimit -l \
             unlimited`)",
        )
    } else if is_refused {
        Some("a user namespace (a rootless container) or lockdown keeps even root from BPF; run it outside")
    } else if !has_btf {
        Some("this kernel has no BTF (CONFIG_DEBUG_INFO_BTF); the program may need it")
    } else {
        None
    }
}
