//! What a running tcp-bounce costs.

use std::fs;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::time::Duration;

use libbpf_rs::libbpf_sys::{BPF_STATS_RUN_TIME, bpf_enable_stats};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use super::bouncer::TcpBounce;

/// What the process holds, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Memory that is resident.
    pub resident: u64,
    /// The kernel's memory for its maps.
    pub maps: u64,
}

impl Memory {
    /// What it holds now.
    pub fn of(bouncer: &TcpBounce) -> Self {
        let process = format!("/proc/{}", bouncer.0.child.id());
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB")).unwrap();
        let descriptors = fs::read_dir(format!("{process}/fdinfo")).unwrap();
        let maps = descriptors.map(|file| {
            // It opens and closes others meanwhile.
            let text = fs::read_to_string(file.unwrap().path()).unwrap_or_default();
            let is_map = text.contains("map_id:");
            let size = text.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse::<u64>().ok());
            if is_map { size.unwrap() } else { 0 }
        });
        Self { resident: resident.trim().parse::<u64>().unwrap() << 10, maps: maps.sum() }
    }

    /// Checks that it does not hold more now.
    #[track_caller]
    pub fn assert_no_more(self, bouncer: &TcpBounce) {
        let after = Self::of(bouncer);
        println!("{self:?} before, {after:?} after");
        assert!(self.maps > 0);
        assert_eq!(after.maps, self.maps);
        // A page or two for a line that it writes, but nothing for each connection.
        assert!(after.resident <= self.resident + (256 << 10), "{self:?} {after:?}");
    }
}

/// The CPU time that the process has used.
pub fn cpu_time(bouncer: &TcpBounce) -> Duration {
    let clock = clock_getcpuclockid(Pid::from_raw(bouncer.0.child.id() as i32)).unwrap();
    clock_gettime(clock).unwrap().into()
}

/// As long as it lives, the kernel measures how long programs run.
pub struct Statistics(OwnedFd);

impl Statistics {
    /// Has the kernel begin.
    pub fn start() -> Self {
        // SAFETY: It takes no pointer.
        let statistics = unsafe { bpf_enable_stats(BPF_STATS_RUN_TIME) };
        assert!(statistics >= 0, "the kernel does not measure: {statistics}");
        // SAFETY: The kernel has just made this descriptor, for us.
        Self(unsafe { OwnedFd::from_raw_fd(statistics) })
    }
}
