//! What can go wrong, and what the operator can do about it.

use std::error::Error as _;
use std::io;
use std::iter;
use std::net::SocketAddr;
use std::path::PathBuf;

use caps::Capability;
use nix::sys::resource::{Resource, getrlimit};

use crate::attach::{AttachMode, Occupant};
use crate::kernel;
use crate::privileges;

/// Of so many open files each interface takes a few.
const FILES: u64 = 64;

/// Why tcp-bounce did not start, or stopped. When one is returned, nothing is attached.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("there is no interface {name:?}")]
    NoSuchInterface { name: String, names: Vec<String> },
    #[error("{name} is named twice")]
    NamedTwice { name: String },
    #[error("{name} is the loopback interface: there every packet comes from the host itself, which is never answered")]
    Loopback { name: String },
    #[error("{name} is no Ethernet interface")]
    NotEthernet { name: String },
    #[error("--except names every port that there is to answer on: none is left")]
    NothingLeft,
    #[error("missing {}", list(missing))]
    MissingCapabilities { missing: Vec<Capability> },
    #[error("the kernel is too old: this is {release}")]
    KernelTooOld { release: String },
    #[error("an XDP program is already attached to {interface}: {occupant}")]
    Occupied { interface: String, occupant: Occupant },
    #[error("the kernel takes no XDP program on {interface} below {above}, which has {occupant}")]
    OccupiedAbove { interface: String, above: String, occupant: Occupant },
    #[error("the kernel takes no XDP program on {interface} below an interface that has one")]
    OccupiedSomewhere { interface: String },
    #[error("the driver of {interface} refuses {mode} XDP")]
    Refused { interface: String, mode: AttachMode, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot attach to {interface} in {mode} mode")]
    Attach { interface: String, mode: AttachMode, source: io::Error },
    #[error("the kernel's verifier refuses the program; its log is in {}", log.display())]
    Verifier { log: PathBuf, source: libbpf_rs::Error },
    #[error("cannot load the program")]
    Load { messages: Vec<String>, has_btf: bool, source: libbpf_rs::Error },
    #[error("{interface} was removed or moved to another network namespace; nothing is attached any more")]
    Removed { interface: String },
    #[error("somebody detached the program from {interface}; nothing is attached any more")]
    Detached { interface: String },
    #[error("cannot read what was counted by port and by client")]
    Tables(#[source] io::Error),
    #[error("--watch needs a terminal for standard input and output")]
    NoTerminal,
    #[error("--watch needs the terminal, and this is not the process in its foreground")]
    Background,
    #[error("cannot draw on the terminal")]
    Terminal(#[source] io::Error),
    #[error("cannot serve metrics on {address}")]
    Metrics { address: SocketAddr, source: io::Error },
    #[error("cannot write the report {}", path.display())]
    Report { path: PathBuf, source: io::Error },
    #[error("cannot give the report the name {}; it is in {}", path.display(), kept.display())]
    ReportElsewhere { path: PathBuf, kept: PathBuf, source: io::Error },
    #[error("cannot list the network interfaces")]
    ListInterfaces(#[source] io::Error),
    #[error("cannot list the addresses of the network interfaces")]
    ListAddresses(#[source] io::Error),
    #[error("{count} prefixes or addresses, of {source_of_them}, are too many: {most} are possible")]
    TooManyPrefixes { source_of_them: &'static str, count: usize, most: usize },
    #[error("--then gives {} two modes: {} and {}", port_or_rest(*port), modes[0], modes[1])]
    TwoModes { port: Option<u16>, modes: [&'static str; 2] },
    #[error("--then {mode} needs --isn keyed: only who has seen the SYN-ACK may be answered so")]
    NeedsKey { mode: &'static str },
    #[error("--key-file is only for --isn keyed")]
    KeyWithoutUse,
    #[error("cannot read the key in {}", path.display())]
    KeyFile { path: PathBuf, source: io::Error },
    #[error("{} is no key: it must have 32 hexadecimal digits", path.display())]
    NoKey { path: PathBuf },
    #[error("the system gives no random numbers for a key")]
    NoRandomness(#[source] getrandom::Error),
    #[error("there is not enough memory")]
    OutOfMemory,
    #[error("cannot list the ports that the host listens on")]
    ListListeners(#[source] io::Error),
    #[error("cannot list the connections that --takeover will cut")]
    ListConnections(#[source] io::Error),
    #[error("cannot see which program is attached to {interface}")]
    Query { interface: String, source: libbpf_rs::Error },
    #[error("cannot see whether the program is still attached to {interface}")]
    QueryLink { interface: String, source: libbpf_rs::Error },
    #[error("cannot reach the maps of the program")]
    Maps(#[source] libbpf_rs::Error),
    #[error("cannot give up the privileges that are not needed any more")]
    Privileges(#[source] privileges::Failure),
    #[error("cannot handle Ctrl-C")]
    Signals(#[source] io::Error),
    #[error("cannot write to standard output")]
    Write(#[source] io::Error),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl Error {
    /// What the operator can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoSuchInterface { names, .. } => format!("there are {}", names.join(", ")),
            Self::TooManyPrefixes { .. } => "join some of them, or name with --to those that matter".into(),
            Self::NoTerminal => "--events prints lines, also to a file or a pipe".into(),
            Self::Background => "start it without `&`, and not by a program like timeout; --for ends it, too".into(),
            Self::Metrics { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "name a port above 1023, or let it have CAP_NET_BIND_SERVICE".into()
            }
            Self::Metrics { .. } => "name an address of this host, and a port that nobody else listens on".into(),
            Self::Report { source, .. } if source.kind() == io::ErrorKind::Other => "name another file".into(),
            Self::Report { .. } => "name a file in a folder that is there, may be written to, and has room".into(),
            Self::ReportElsewhere { kept, .. } => format!("move it yourself: `mv {} ...`", kept.display()),
            Self::TwoModes { .. } => "name each port once; the mode without ports is for all that are not named".into(),
            Self::NeedsKey { .. } => "leave --isn out, or make it keyed".into(),
            Self::KeyWithoutUse => "add --isn keyed".into(),
            Self::KeyFile { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "let who runs it read the file; a service takes it with LoadCredential=".into()
            }
            Self::KeyFile { .. } | Self::NoKey { .. } => "make one with `openssl rand -hex 16`".into(),
            Self::NamedTwice { .. } => {
                "leave one out; an interface may have other names, like those that `ip link` shows as altname".into()
            }
            Self::NothingLeft => "leave at least one port out of the lists".into(),
            Self::Loopback { .. } => "try it between two network namespaces, as `make demo` does".into(),
            Self::NotEthernet { .. } => "only interfaces with Ethernet headers are supported".into(),
            Self::MissingCapabilities { .. } => {
                "run it as root, with sudo for example, or as another user with these capabilities: by setpriv or setcap, or as a service"
                    .into()
            }
            Self::KernelTooOld { .. } => "XDP links, which detach when the process ends, came with Linux 5.9".into(),
            Self::Occupied { interface, occupant } | Self::OccupiedAbove { above: interface, occupant, .. } => {
                occupant.hint(interface)
            }
            Self::OccupiedSomewhere { .. } => "`bpftool net show` lists the programs, and their interfaces".into(),
            Self::Refused { mode: AttachMode::Native, .. } => {
                "--mode skb works with every driver, but is slower".into()
            }
            Self::Refused { .. } => "--mode auto takes what works".into(),
            Self::Verifier { .. } => "please report it with that file and the output of `uname -a`".into(),
            _ if self.lacks_memory() => {
                "raise the limit of memory or of threads, as of the service (MemoryMax=, LimitAS=, TasksMax=), the container or \
                 `ulimit`; without --top, --report and --watch it takes less"
                    .into()
            }
            // What libbpf says then need not name the cause.
            Self::Load { .. } if getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(limit, _)| limit < FILES) => {
                "the limit of open files is low: raise it, as by `ulimit -n 1024`".into()
            }
            // As root it was raised.
            Self::Load { source, .. }
                if source.kind() == libbpf_rs::ErrorKind::PermissionDenied && kernel::limits_locked_memory() =>
            {
                "before Linux 5.11 maps count as locked memory: raise its limit (LimitMEMLOCK=infinity of a service, or `ulimit -l \
                 unlimited`)"
                    .into()
            }
            Self::Load { source, .. } if source.kind() == libbpf_rs::ErrorKind::PermissionDenied => {
                "a user namespace (a rootless container) or lockdown keeps even root from BPF; run it outside".into()
            }
            Self::Attach { .. } => "a security module may forbid it: see the kernel's log".into(),
            Self::Removed { .. } => "start it again on the interfaces that there are".into(),
            Self::Detached { .. } => {
                "start it again, if nobody else needs the interface for a program of theirs".into()
            }
            Self::ListListeners(error) if error.kind() == io::ErrorKind::NotFound => {
                "this needs the kernel modules inet_diag and tcp_diag: `modprobe tcp_diag`".into()
            }
            Self::Load { has_btf: false, .. } => {
                "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF); the program may need it".into()
            }
            _ => return None,
        })
    }

    /// Whether there was no memory, or no thread, for which memory is the usual reason too.
    fn lacks_memory(&self) -> bool {
        let is_lack = |error: &(dyn std::error::Error + 'static)| {
            let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
            let libbpf = error.downcast_ref::<libbpf_rs::Error>().map(libbpf_rs::Error::kind);
            matches!(io, Some(io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock))
                || matches!(libbpf, Some(libbpf_rs::ErrorKind::OutOfMemory | libbpf_rs::ErrorKind::WouldBlock))
        };
        matches!(self, Self::OutOfMemory) || iter::successors(self.source(), |&error| error.source()).any(is_lack)
    }

    /// The error with its causes, in one line.
    pub fn with_causes(&self) -> String {
        let mut line = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            line += &format!(": {cause}");
            source = cause.source();
        }
        line
    }
}

fn port_or_rest(port: Option<u16>) -> String {
    port.map_or("all other ports".into(), |port| format!("port {port}"))
}

fn list(capabilities: &[Capability]) -> String {
    capabilities.iter().map(Capability::to_string).collect::<Vec<_>>().join(", ")
}
