//! The version and features of the running kernel, and the capabilities that tcp-bounce requires.

use std::fs;

use caps::{CapSet, Capability};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::utsname::uname;
use serde::Serialize;

use super::HostError;

/// The first kernel version with bpf_link for XDP.
const XDP_LINKS: (u32, u32) = (5, 9);
/// The first kernel version that does not charge maps and programs against `RLIMIT_MEMLOCK`.
const UNLOCKED_MAPS: (u32, u32) = (5, 11);
/// The first kernel version with multi-buffer XDP, for packets longer than a page.
const FRAGMENTS: (u32, u32) = (5, 18);
/// The first kernel version that reports the XDP features of drivers.
pub const DRIVER_FEATURES: (u32, u32) = (6, 3);

/// The required capabilities: to load the program, to attach it, and to compare packet pointers in it, in this order.
const NEEDED: [Capability; 3] = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];

/// Checks that the kernel is new enough and that the process has the required capabilities.
///
/// # Errors
///
/// The errors of [`check_release`] and [`check_capabilities`].
pub fn check() -> Result<(), HostError> {
    check_release()?;
    check_capabilities()
}

/// Checks that the kernel has bpf_link for XDP, according to its release.
///
/// # Errors
///
/// [`HostError::KernelTooOld`] if the release is older than Linux 5.9. A release without a version is accepted.
pub fn check_release() -> Result<(), HostError> {
    if is_older_than(XDP_LINKS) { Err(HostError::KernelTooOld { release: release() }) } else { Ok(()) }
}

/// Checks that the process has the capabilities that loading and attaching require.
///
/// # Errors
///
/// [`HostError::MissingCapabilities`] if the process lacks any of them.
pub fn check_capabilities() -> Result<(), HostError> {
    let missing = missing_capabilities();
    if missing.is_empty() { Ok(()) } else { Err(HostError::MissingCapabilities { missing }) }
}

/// Returns the required capabilities that the process lacks.
pub fn missing_capabilities() -> Vec<Capability> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    // CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON, which were split from it in Linux 5.8.
    let is_admin = has(Capability::CAP_SYS_ADMIN);
    NEEDED
        .into_iter()
        .filter(|&capability| !has(capability) && (!is_admin || capability == Capability::CAP_NET_ADMIN))
        .collect()
}

/// Returns the kernel release (`uname -r`), such as `6.1.0-18-amd64`. Empty if it cannot be read.
pub fn release() -> String {
    uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// Returns whether the kernel is older than `version`, a major and minor number.
///
/// Returns `false` if the release does not start with a version.
pub fn is_older_than(version: (u32, u32)) -> bool {
    parse_version(&release()).is_some_and(|running| running < version)
}

/// Returns whether `RLIMIT_MEMLOCK` limits the size of maps: before Linux 5.11, unless the limit is infinite.
pub fn limits_locked_memory() -> bool {
    let is_finite = |(limit, _)| limit != RLIM_INFINITY;
    is_older_than(UNLOCKED_MAPS) && getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(is_finite)
}

/// Returns whether the kernel version supports multi-buffer XDP programs (`BPF_F_XDP_HAS_FRAGS`).
pub fn has_frags() -> bool {
    !is_older_than(FRAGMENTS)
}

/// Returns whether the kernel provides BTF (`CONFIG_DEBUG_INFO_BTF`).
pub fn has_btf() -> bool {
    fs::exists("/sys/kernel/btf/vmlinux").unwrap_or(false)
}

/// The kernel features that tcp-bounce uses. The JSON output uses the field names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelFeatures {
    /// The kernel release (`uname -r`).
    pub release: String,
    /// Whether the kernel has bpf_link for XDP. tcp-bounce does not start without it.
    pub xdp_links: bool,
    /// Whether the kernel supports multi-buffer XDP, for packets longer than a page.
    pub xdp_fragments: bool,
    /// Whether the kernel reports the XDP features of drivers.
    pub driver_features: bool,
    /// Whether the kernel provides BTF.
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

    /// Returns the name of each feature, after "no" if the kernel lacks it.
    pub fn names(&self) -> Vec<String> {
        let features = [
            ("bpf_link for XDP", self.xdp_links),
            ("multi-buffer XDP", self.xdp_fragments),
            ("XDP feature flags", self.driver_features),
            ("BTF", self.btf),
        ];
        features.into_iter().map(|(name, has)| format!("{}{name}", if has { "" } else { "no " })).collect()
    }
}

/// Returns the major and minor version of a release such as `6.1.0-18-amd64`, or `None` if `release` does not
/// start with a version.
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
