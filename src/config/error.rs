//! Errors of the configuration.

use std::io;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use nix::errno::Errno;

use crate::diagnosis;

use super::similar::most_similar;
use super::{BuiltIn, ProfileError, TomlError};

/// An invalid setting, a contradiction between settings, or a failure to prepare the key or the action table.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The list of interfaces is empty.
    #[error("no interface given")]
    NoInterfaces,
    /// A field of the SYN-ACK has a value that TCP or IP does not allow.
    #[error("the TTL and the MSS must be at least 1, and the window scale at most 14")]
    OutOfRange,
    /// The excluded ports leave no port to answer on.
    #[error("no port left to answer on: --exclude-ports lists every selected port")]
    NoPortsLeft,
    /// `--ports` selects more ports than there are.
    #[error("--ports selects {selected} ports, and {left} are left")]
    TooManySelectedPorts {
        /// The number of ports that `random:` and `share:` select.
        selected: u32,
        /// The number of ports that are neither listed nor excluded.
        left: u32,
    },
    /// `--dst` combines `local` with prefixes.
    #[error("--dst local cannot be combined with prefixes")]
    LocalWithPrefixes,
    /// A prefix consists of IPv4-mapped IPv6 addresses, which no packet carries.
    #[error("{option} {prefix} is an IPv4-mapped prefix, which no packet matches")]
    MappedPrefix {
        /// The option that lists the prefix.
        option: &'static str,
        /// The prefix.
        prefix: IpNet,
        /// The IPv4 prefix with the same addresses.
        ipv4: IpNet,
    },
    /// No address in the prefixes of an option is ever answered.
    #[error("{option} lists no address that is ever answered: {prefix} is {kind}")]
    NeverAnswered {
        /// The option that lists the prefixes.
        option: &'static str,
        /// The first prefix of the list.
        prefix: IpNet,
        /// The kind of the addresses in this prefix, such as "multicast".
        kind: &'static str,
    },
    /// `--dst` and `--src` list prefixes of different IP versions, and no packet has both.
    #[error("--dst lists only {destinations} addresses and --src only {sources} addresses, so no packet matches both")]
    NoCommonVersion {
        /// The IP version of the destinations: "IPv4" or "IPv6".
        destinations: &'static str,
        /// The IP version of the sources, the other one.
        sources: &'static str,
    },
    /// An address set of the program has no room for all prefixes.
    #[error("{option} lists {count} separate prefixes, but at most {most} are supported")]
    TooManyPrefixes {
        /// The option that lists the prefixes.
        option: &'static str,
        /// The number of address ranges, after overlapping and adjacent prefixes are merged.
        count: usize,
        /// The capacity of an address set, in ranges.
        most: usize,
    },
    /// Two different actions are chosen for one port, or for all ports that no action names.
    #[error("--on-connect selects two actions {}: {} and {}", conflict(*port), actions[0], actions[1])]
    ConflictingActions {
        /// The port, or `None` for all ports that no action names.
        port: Option<u16>,
        /// The names of both actions, as the user writes them.
        actions: [&'static str; 2],
    },
    /// The ISN is fixed, but an action requires a keyed ISN. Only a keyed ISN proves that the client received the
    /// SYN-ACK.
    #[error("--on-connect {action} requires --isn keyed, so that spoofed sources get no reply")]
    NeedsKey {
        /// The name of the action, as the user writes it.
        action: &'static str,
    },
    /// The ISN is fixed, but a profile requires a keyed ISN.
    #[error("--profile requires --isn keyed, so that spoofed sources get no reply")]
    ProfileNeedsKey,
    /// There are a profile and post-handshake actions, which both decide on the replies.
    #[error("--profile cannot be combined with --on-connect")]
    ProfileWithActions,
    /// No port of the profile is selected.
    #[error("no port left to answer on: {}", no_profile_ports(*has_ports, *has_excluded))]
    NoProfilePorts {
        /// Whether `--ports` is given.
        has_ports: bool,
        /// Whether `--exclude-ports` is given.
        has_excluded: bool,
    },
    /// There is neither a built-in profile nor a file with this name.
    #[error("no profile named \"{name}\"")]
    UnknownProfile {
        /// The name.
        name: String,
    },
    /// The file of a profile cannot be read.
    #[error("cannot read the profile {}", path.display())]
    ReadProfile {
        /// The path of the file.
        path: PathBuf,
        /// The error of `open(2)` or `read(2)`, or `FileTooLarge`.
        source: io::Error,
    },
    /// A profile breaks a rule.
    #[error("cannot use profile {profile}")]
    Profile {
        /// The name of the profile, or the path of its file.
        profile: String,
        /// The mistake.
        source: ProfileError,
    },
    /// The file of a policy cannot be read.
    #[error("cannot read the policy {}", path.display())]
    ReadPolicy {
        /// The path of the file.
        path: PathBuf,
        /// The error of `open(2)` or `read(2)`, `FileTooLarge`, or `InvalidData` if the content is not UTF-8.
        source: io::Error,
    },
    /// A policy has a mistake.
    #[error("cannot use the policy {policy}")]
    Policy {
        /// The path of the file.
        policy: String,
        /// The mistake.
        source: TomlError,
    },
    /// The port report is JUnit XML, which shows the comparison with a policy, and there is no policy.
    #[error("a report in JUnit XML (.xml) requires --expect")]
    JunitWithoutPolicy,
    /// The port report would be compared with a policy, and has no port that a client can connect to.
    #[error("--expect compares the ports from 1 to 65535, and none of them is selected")]
    NothingToCompare,
    /// A key file is configured, but the ISN is fixed.
    #[error("--key-file requires --isn keyed")]
    UnusedKey,
    /// The key file cannot be read.
    #[error("cannot read the key file {}", path.display())]
    ReadKey {
        /// The path of the key file.
        path: PathBuf,
        /// The error of `open(2)` or `read(2)`, or `InvalidData` if the content is not UTF-8.
        source: io::Error,
    },
    /// The content of the key file is not a key of 32 hexadecimal digits.
    #[error("the key file {} does not consist of 32 hexadecimal digits", path.display())]
    InvalidKey {
        /// The path of the key file.
        path: PathBuf,
    },
    /// `getrandom(2)` failed.
    #[error("cannot generate a random key")]
    NoRandomness(#[source] getrandom::Error),
    /// The action table of 64 KiB cannot be allocated.
    #[error("out of memory")]
    OutOfMemory,
}

impl ConfigError {
    /// Returns advice on how to resolve the error, if there is any.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoPortsLeft | Self::NoProfilePorts { has_ports: false, .. } => {
                "remove at least one port from --exclude-ports"
            }
            Self::TooManySelectedPorts { .. } => "lower the numbers of random: and share:",
            Self::LocalWithPrefixes => {
                "list the local addresses instead of local, or use --dst any to answer for every address"
            }
            Self::MappedPrefix { ipv4, .. } => return Some(format!("use the IPv4 prefix {ipv4}")),
            Self::NeverAnswered { option, .. } => {
                return Some(format!("add the unicast addresses of hosts, or omit {option}"));
            }
            Self::NoCommonVersion { destinations, sources } => {
                return Some(format!("add {sources} addresses to --dst, or {destinations} addresses to --src"));
            }
            Self::TooManyPrefixes { .. } => "merge prefixes into a shorter prefix that covers them",
            Self::ConflictingActions { port: Some(port), .. } => {
                return Some(format!("list port {port} for one action only"));
            }
            Self::ConflictingActions { port: None, actions } => {
                return Some(format!("add ports to one of them, as in {}:7", actions[1]));
            }
            Self::ProfileNeedsKey | Self::NeedsKey { .. } => "remove --isn, or set it to keyed",
            Self::ProfileWithActions => "remove --on-connect, or set `end` in the services of the profile",
            Self::NoProfilePorts { .. } => "remove --ports, or list ports of the profile",
            Self::UnknownProfile { name } => {
                let names = BuiltIn::ALL.map(|profile| profile.name);
                return Some(match most_similar(name, names.into_iter()) {
                    Some(similar) => format!("did you mean {similar}?"),
                    None => format!("use a file such as ./FILE.toml, or one of {}", names.join(", ")),
                });
            }
            Self::ReadProfile { path, source } => return read_profile_hint(path, source),
            Self::Profile { source, .. } => return source.hint(),
            Self::Policy { source, .. } => return source.hint(),
            Self::JunitWithoutPolicy => "add --expect FILE, or write a report that ends with .csv or .json",
            Self::NothingToCompare => "select more ports with --ports, or exclude fewer",
            Self::UnusedKey => "add --isn keyed",
            Self::ReadKey { path, source } => return Some(read_key_hint(path, source)),
            Self::InvalidKey { .. } => NEW_KEY,
            Self::OutOfMemory => diagnosis::MEMORY_HINT,
            Self::NoInterfaces | Self::OutOfRange | Self::NoRandomness(_) | Self::ReadPolicy { .. } => return None,
        };
        Some(hint.to_owned())
    }

    /// Returns whether the configuration itself is wrong, so that a retry with this configuration fails too.
    pub fn is_usage_error(&self) -> bool {
        match self {
            Self::ReadKey { source, .. } | Self::ReadProfile { source, .. } | Self::ReadPolicy { source, .. } => {
                !is_temporary(source)
            }
            Self::NoRandomness(_) | Self::OutOfMemory => false,
            _ => true,
        }
    }
}

/// Advice on a key file that cannot be used.
const NEW_KEY: &str = "create a key file with `(umask 077; openssl rand -hex 16 >FILE)`";

/// Returns advice on a key file that cannot be read.
fn read_key_hint(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "run tcp-bounce as a user who may read it; in a systemd service, use LoadCredential=".to_owned()
        }
        io::ErrorKind::NotFound => {
            format!("create it with `(umask 077; openssl rand -hex 16 >{})`", diagnosis::quoted(path))
        }
        _ => NEW_KEY.to_owned(),
    }
}

/// Returns advice on a profile that cannot be read.
fn read_profile_hint(path: &Path, error: &io::Error) -> Option<String> {
    let is_built_in = path.to_str().and_then(BuiltIn::find).is_some();
    let hint = match error.kind() {
        io::ErrorKind::NotFound if is_built_in => "remove --profile-format to use the built-in profile",
        io::ErrorKind::NotFound => {
            "check the path; `tcp-bounce --list-profiles` lists the built-in profiles, which have no path"
        }
        io::ErrorKind::PermissionDenied => "run tcp-bounce as a user who may read the file",
        io::ErrorKind::IsADirectory => "add the name of a file in this directory",
        io::ErrorKind::FileTooLarge => "use a file of at most 16 MiB",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Returns whether a read of a file may succeed later, because `error` comes from the state of the host.
fn is_temporary(error: &io::Error) -> bool {
    use Errno::{EAGAIN, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ESTALE, ETIMEDOUT};
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(EAGAIN | EINTR | EIO | EMFILE | ENFILE | ENOMEM | ESTALE | ETIMEDOUT))
}

/// Returns the ports of two conflicting actions.
fn conflict(port: Option<u16>) -> String {
    port.map_or("without ports".into(), |port| format!("for port {port}"))
}

/// Returns the options that leave no port of a profile.
fn no_profile_ports(has_ports: bool, has_excluded: bool) -> &'static str {
    match (has_ports, has_excluded) {
        (true, true) => "--ports and --exclude-ports leave no port of the profile",
        (true, false) => "--ports lists no port of the profile",
        (false, _) => "--exclude-ports lists every port of the profile",
    }
}
