//! The running kernel: its version, its features, and the capabilities that it demands.

use std::fmt::{self, Display, Formatter};
use std::fs;

use caps::{CapSet, Capability};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::utsname::uname;
use serde::Serialize;

use super::HostError;

/// The first version with bpf_link for XDP.
const XDP_LINKS: (u32, u32) = (5, 9);
/// The first version that does not count maps and programs as locked memory.
const UNLOCKED_MAPS: (u32, u32) = (5, 11);
/// The first version with XDP programs for packets longer than a page.
const FRAGMENTS: (u32, u32) = (5, 18);
/// The first version that reports the XDP features of drivers.
pub const DRIVER_FEATURES: (u32, u32) = (6, 3);

/// The capabilities to load the program, to attach it, and to compare packet pointers in it.
const NEEDED: [Capability; 3] = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];

/// Checks that the kernel is new enough and that the process has the needed capabilities.
///
/// # Errors
///
/// The errors of [`check_release`] and [`check_capabilities`].
pub fn check() -> Result<(), HostError> {
    check_release()?;
    check_capabilities()
}

/// Checks that the kernel has bpf_link for XDP, as far as its release tells.
///
/// # Errors
///
/// [`HostError::KernelTooOld`].
pub fn check_release() -> Result<(), HostError> {
    if is_older_than(XDP_LINKS) { Err(HostError::KernelTooOld { release: release() }) } else { Ok(()) }
}

/// Checks that the process has the capabilities that loading and attaching need.
///
/// # Errors
///
/// [`HostError::MissingCapabilities`].
pub fn check_capabilities() -> Result<(), HostError> {
    let missing = missing_capabilities();
    if missing.is_empty() { Ok(()) } else { Err(HostError::MissingCapabilities { missing }) }
}

/// Returns the capabilities that the process needs and does not have.
pub fn missing_capabilities() -> Vec<Capability> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    // CAP_SYS_ADMIN implies CAP_BPF and CAP_PERFMON, which were split off it.
    let is_admin = has(Capability::CAP_SYS_ADMIN);
    NEEDED
        .into_iter()
        .filter(|&capability| !has(capability) && (!is_admin || capability == Capability::CAP_NET_ADMIN))
        .collect()
}

/// Returns the release of the kernel, such as `6.1.0-18-amd64`.
pub fn release() -> String {
    uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// Returns whether the kernel is older than this major and minor version. A release without a version counts as new.
pub fn is_older_than(version: (u32, u32)) -> bool {
    parse_version(&release()).is_some_and(|running| running < version)
}

/// Returns whether a limit of locked memory applies to maps.
pub fn limits_locked_memory() -> bool {
    let is_finite = |(limit, _)| limit != RLIM_INFINITY;
    is_older_than(UNLOCKED_MAPS) && getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(is_finite)
}

/// Returns whether a program may accept packets that are in several parts (`BPF_F_XDP_HAS_FRAGS`).
pub fn has_frags() -> bool {
    !is_older_than(FRAGMENTS)
}

/// Returns whether the kernel was built with BTF.
pub fn has_btf() -> bool {
    fs::exists("/sys/kernel/btf/vmlinux").unwrap_or(false)
}

/// The kernel's features that tcp-bounce uses. The field names are those of the JSON output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelFeatures {
    /// The release.
    pub release: String,
    /// Whether there is bpf_link for XDP, without which tcp-bounce does not start.
    pub xdp_links: bool,
    /// Whether there are XDP programs for packets longer than a page.
    pub xdp_fragments: bool,
    /// Whether the XDP features of drivers are reported.
    pub driver_features: bool,
    /// Whether there is BTF.
    pub btf: bool,
}

impl KernelFeatures {
    /// Reads the features of the running kernel.
    pub fn read() -> Self {
        Self {
            release: release(),
            xdp_links: !is_older_than(XDP_LINKS),
            xdp_fragments: has_frags(),
            driver_features: !is_older_than(DRIVER_FEATURES),
            btf: has_btf(),
        }
    }
}

impl Display for KernelFeatures {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{}", self.release)?;
        let features = [
            ("XDP links", self.xdp_links),
            ("XDP fragments", self.xdp_fragments),
            ("XDP features of drivers", self.driver_features),
            ("BTF", self.btf),
        ];
        features.into_iter().try_for_each(|(name, has)| write!(f, ", {}{name}", if has { "" } else { "no " }))
    }
}

/// Returns the major and minor version of a release such as `6.1.0-18-amd64`.
fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(parse_version("6.1.0-18-amd64\n"), Some((6, 1)));
        assert_eq!(parse_version("5.10.0"), Some((5, 10)));
        assert_eq!(parse_version("4.19-custom"), Some((4, 19)));
        assert_eq!(parse_version(""), None);
        assert!(parse_version("5.10.0") > Some(XDP_LINKS));
        assert!(parse_version("5.8.18") < Some(XDP_LINKS));
    }
}
