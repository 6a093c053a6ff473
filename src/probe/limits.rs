//! The maximum number of concurrent connections: the limit of open files, minus the descriptors for other files.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The maximum number of connections at a time. Each takes about 4 KiB of kernel memory.
const MOST: u64 = 30_000;

/// The number of descriptors for other files: the standard streams, epoll, and files of the C library.
const RESERVED: u64 = 32;

/// Raises the limit of open files to the hard limit. Returns the number of connections that may be open at a time.
pub fn raise() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1 };
    let wanted = hard.min(MOST + RESERVED).max(soft);
    // Raising a limit up to the hard limit is always allowed.
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() { wanted } else { soft };
    limit.saturating_sub(RESERVED).clamp(1, MOST) as usize
}
