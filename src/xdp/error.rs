//! Errors of loading, querying and reading XDP programs.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use libbpf_rs::ErrorKind;
use nix::sys::resource::{Resource, getrlimit};

use crate::diagnosis;
use crate::host::kernel;

/// The limit of open files below which a lack of descriptors is the likely cause of a failed load. Each interface needs
/// a few descriptors.
const FILES: u64 = 64;

/// The kernel refused a program or a query, or the maps of the program cannot be accessed.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// The kernel's verifier rejected the program.
    #[error("the kernel's verifier rejects the XDP program (log: {})", log.display())]
    Verifier {
        /// The path of the file with the verifier's log.
        log: PathBuf,
        /// The error of `BPF_PROG_LOAD`.
        source: libbpf_rs::Error,
    },
    /// The program or its maps cannot be loaded.
    #[error("cannot load the XDP program")]
    Load {
        /// The warnings of libbpf during the load, one line each.
        messages: Vec<String>,
        /// Whether the kernel provides BTF.
        has_btf: bool,
        /// The error of libbpf.
        source: libbpf_rs::Error,
    },
    /// The kernel refused the query for the attached programs.
    #[error("cannot query the XDP program on {interface}")]
    Query {
        /// The name of the interface.
        interface: String,
        /// The error of `bpf_xdp_query`.
        source: libbpf_rs::Error,
    },
    /// The kernel refused to report whether the bpf_link is still attached.
    #[error("cannot query the bpf_link on {interface}")]
    QueryLink {
        /// The name of the interface.
        interface: String,
        /// The error of `BPF_OBJ_GET_INFO_BY_FD`.
        source: libbpf_rs::Error,
    },
    /// A map of the program cannot be read or written.
    #[error("cannot access the maps of the XDP program")]
    Maps(#[source] libbpf_rs::Error),
    /// The tables of client activity cannot be set up or mapped.
    #[error("cannot set up the tables of ports and clients")]
    ClientTables(#[source] io::Error),
    /// The table of local ports cannot be mapped.
    #[error("cannot map the table of local ports")]
    LocalPorts(#[source] io::Error),
}

impl XdpError {
    /// Returns the hint for the user, if the error has one.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Verifier { .. } => "report this bug with the log and the output of `uname -a`",
            Self::Load { has_btf, source, .. } => {
                let memory = memory_hint(self);
                return memory.or_else(|| load_hint(source.kind(), *has_btf).map(str::to_owned));
            }
            Self::Query { .. }
            | Self::QueryLink { .. }
            | Self::Maps(_)
            | Self::ClientTables(_)
            | Self::LocalPorts(_) => {
                return memory_hint(self);
            }
        };
        Some(hint.to_owned())
    }

    /// Returns the warnings of libbpf during a failed load. Empty for other errors.
    pub fn libbpf_messages(&self) -> &[String] {
        if let Self::Load { messages, .. } = self { messages } else { &[] }
    }
}

/// Returns the hint for a lack of memory, if that is a cause of `error`. The errors of libbpf have kinds of their own.
fn memory_hint(error: &XdpError) -> Option<String> {
    let is_shortage = |error: &(dyn Error + 'static)| {
        let kind = error.downcast_ref::<libbpf_rs::Error>().map(libbpf_rs::Error::kind);
        matches!(kind, Some(ErrorKind::OutOfMemory | ErrorKind::WouldBlock))
    };
    let hint = || diagnosis::causes(error).any(is_shortage).then(|| diagnosis::MEMORY_HINT.to_owned());
    diagnosis::memory_hint(error).or_else(hint)
}

fn load_hint(kind: ErrorKind, has_btf: bool) -> Option<&'static str> {
    let is_refused = kind == ErrorKind::PermissionDenied;
    if getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(limit, _)| limit < FILES) {
        // The message of libbpf may not name the limit as the cause.
        Some("raise the limit of open files: run `ulimit -n 1024`, or set LimitNOFILE=1024 in the service")
    } else if is_refused && kernel::limits_locked_memory() {
        // With CAP_SYS_RESOURCE, which root has, libbpf makes the limit infinite. A finite limit is the likely cause.
        Some("raise the limit of locked memory: run `ulimit -l unlimited`, or set LimitMEMLOCK=infinity in the service")
    } else if is_refused {
        Some("run tcp-bounce as root on the host: user namespaces and rootless containers deny BPF")
    } else if !has_btf {
        Some("use a kernel with CONFIG_DEBUG_INFO_BTF=y: this kernel has no BTF")
    } else {
        None
    }
}
