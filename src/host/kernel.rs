//! What tcp-bounce needs of the kernel it runs on.

use std::fmt::{self, Display, Formatter};
use std::fs;

use caps::{CapSet, Capability};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::utsname::uname;
use serde::Serialize;

use super::HostError;

/// The first kernel with bpf_link for XDP.
const OLDEST: (u32, u32) = (5, 9);
/// The first that does not count maps and programs as locked memory.
const NOT_LOCKED: (u32, u32) = (5, 11);
/// The first with XDP programs for packets longer than a page.
const FRAGMENTS: (u32, u32) = (5, 18);
/// The first that tells what a driver supports of XDP.
pub const DRIVER_FEATURES: (u32, u32) = (6, 3);

/// To load the program, to attach it, and to compare packet pointers in it.
const NEEDED: [Capability; 3] = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];

/// Checks that the process may do what it is about to do, on a kernel that can.
pub fn check() -> Result<(), HostError> {
    check_release()?;
    check_capabilities()
}

/// The release of the kernel, like `6.1.0-18-amd64`.
pub fn release() -> String {
    uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// Whether the kernel is older than this version, as far as its release says.
pub fn is_older_than(least: (u32, u32)) -> bool {
    version(&release()).is_some_and(|version| version < least)
}

/// Whether a limit of locked memory keeps maps small here.
pub fn limits_locked_memory() -> bool {
    let is_finite = |(limit, _)| limit != RLIM_INFINITY;
    is_older_than(NOT_LOCKED) && getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(is_finite)
}

/// Checks that the kernel can do what is needed of it.
pub fn check_release() -> Result<(), HostError> {
    if is_older_than(OLDEST) { Err(HostError::KernelTooOld { release: release() }) } else { Ok(()) }
}

/// Checks that the process may do what it is about to do.
pub fn check_capabilities() -> Result<(), HostError> {
    let missing = missing_capabilities();
    if missing.is_empty() { Ok(()) } else { Err(HostError::MissingCapabilities { missing }) }
}

/// The capabilities that the process needs and does not have.
pub fn missing_capabilities() -> Vec<Capability> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    // CAP_SYS_ADMIN stands for the two that were split off it.
    let admin = has(Capability::CAP_SYS_ADMIN);
    NEEDED
        .into_iter()
        .filter(|&capability| !has(capability) && (!admin || capability == Capability::CAP_NET_ADMIN))
        .collect()
}

/// What the kernel has of what tcp-bounce makes use of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelFeatures {
    /// Its release.
    pub release: String,
    /// bpf_link for XDP, without which there is no tcp-bounce.
    pub xdp_links: bool,
    /// XDP programs for packets longer than a page.
    pub xdp_fragments: bool,
    /// What drivers support of XDP is told.
    pub driver_features: bool,
    /// It was built with BTF.
    pub btf: bool,
}

impl KernelFeatures {
    /// Of the kernel that runs.
    pub fn now() -> Self {
        Self {
            release: release(),
            xdp_links: !is_older_than(OLDEST),
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

/// Whether a program may take frames that are in several parts (`BPF_F_XDP_HAS_FRAGS`, Linux 5.18).
pub fn has_frags() -> bool {
    !is_older_than(FRAGMENTS)
}

/// Whether the kernel was built with BTF.
pub fn has_btf() -> bool {
    fs::exists("/sys/kernel/btf/vmlinux").unwrap_or(false)
}

/// Major and minor version of a release like `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(version("6.1.0-18-amd64\n"), Some((6, 1)));
        assert_eq!(version("5.10.0"), Some((5, 10)));
        assert_eq!(version("4.19-custom"), Some((4, 19)));
        assert_eq!(version(""), None);
        assert!(version("5.10.0") > Some(OLDEST));
        assert!(version("5.8.18") < Some(OLDEST));
    }
}
