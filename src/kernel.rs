//! What tcp-bounce needs of the kernel it runs on.

use std::fs;

use caps::{CapSet, Capability};

use crate::error::Error;

/// The first kernel with bpf_link for XDP.
const OLDEST: (u32, u32) = (5, 9);

/// To load the program, to attach it, and to compare packet pointers in it.
const NEEDED: [Capability; 3] = [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];

/// Checks that the process may do what it is about to do, on a kernel that can.
pub fn check() -> Result<(), Error> {
    let release = release();
    if version(&release).is_some_and(|version| version < OLDEST) {
        return Err(Error::KernelTooOld { release: release.trim().to_owned() });
    }
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    // CAP_SYS_ADMIN stands for the two that were split off it.
    let admin = has(Capability::CAP_SYS_ADMIN);
    let missing: Vec<_> = NEEDED
        .into_iter()
        .filter(|&capability| !has(capability) && (!admin || capability == Capability::CAP_NET_ADMIN))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::MissingCapabilities { missing }) }
}

/// Whether a program may take frames that are in several parts (`BPF_F_XDP_HAS_FRAGS`, Linux 5.18).
pub fn has_frags() -> bool {
    version(&release()).is_some_and(|version| version >= (5, 18))
}

fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()
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
