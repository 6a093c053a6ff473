//! Dropping privileges, so that an attacker who takes over the running process gains as little as possible.
//!
//! User ids, capabilities and Landlock rules apply to a single thread and to the threads that it starts later
//! (`credentials(7)`, `capabilities(7)`, `landlock(7)`). [`run_unprivileged`] starts the threads that must run before
//! the main thread drops its privileges.

use std::path::Path;
use std::{io, panic, ptr, thread};

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};
use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::set_keepcaps;
use nix::unistd::geteuid;

/// The id of the user and group "nobody", which own no files.
const NOBODY: u32 = 65534;

/// The directory with the kernel's network settings, which every user may read. The replies follow them.
const NETWORK_SETTINGS: &str = "/proc/sys/net";

/// The reason why privileges cannot be dropped.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The capabilities cannot be read or changed.
    #[error(transparent)]
    Capabilities(#[from] CapsError),
    /// The kernel rejects the Landlock rules.
    #[error(transparent)]
    Landlock(#[from] RulesetError),
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[from] io::Error),
}

/// A protection that did not take effect when the privileges were dropped.
///
/// Missing support for single Landlock restrictions is not a gap. Older kernels support fewer of them, and the
/// documentation lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivilegeGap {
    /// The process still runs as root.
    #[error("the process keeps running as root")]
    StillRoot(#[source] Errno),
    /// The kernel lacks Landlock, or a seccomp filter denies it.
    #[error("the process has no Landlock sandbox: the kernel lacks Landlock, or seccomp denies it")]
    NoLandlock,
    /// Landlock was disabled when the kernel booted.
    #[error("the process has no Landlock sandbox: Landlock was disabled at boot")]
    LandlockDisabled,
}

impl PrivilegeGap {
    /// Returns the name of the gap in the JSON output.
    pub fn code(self) -> &'static str {
        match self {
            Self::StillRoot(_) => "still_root",
            Self::NoLandlock | Self::LandlockDisabled => "no_landlock",
        }
    }

    /// Returns the hint for the user.
    pub fn hint(self) -> &'static str {
        match self {
            Self::StillRoot(_) => {
                "grant CAP_SETUID and CAP_SETGID (in a user namespace, map id 65534), or run as another user"
            }
            Self::NoLandlock => "use a kernel with CONFIG_SECURITY_LANDLOCK=y, or allow landlock_* in seccomp",
            Self::LandlockDisabled => {
                "boot with lsm=landlock,LIST, where LIST is the content of /sys/kernel/security/lsm"
            }
        }
    }
}

/// A task that the process performs after it has dropped its privileges.
pub struct LaterTask<'a> {
    /// The capabilities that may enable the task, in order of preference. If the task fails without them, the first one
    /// that the process has is kept.
    pub capabilities: &'a [Capability],
    /// Returns whether the task succeeds with the current capabilities of the thread.
    pub works: &'a dyn Fn() -> bool,
}

/// Runs `work` in a thread without privileges. Threads that `work` starts have no privileges either.
///
/// # Errors
///
/// The errors of [`drop_privileges`], or [`PrivilegeError::Thread`].
pub fn run_unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, PrivilegeError> {
    run_in_thread(|| drop_privileges(&[], None).map(|_| work()))?
}

/// Predicts the gaps that [`drop_privileges`] returns for `folder`.
///
/// A new thread drops its privileges and then ends. The calling thread keeps its privileges.
///
/// # Errors
///
/// The errors of [`drop_privileges`], or [`PrivilegeError::Thread`].
pub fn predict_gaps(folder: Option<&Path>) -> Result<Vec<PrivilegeGap>, PrivilegeError> {
    run_in_thread(|| drop_privileges(&[], folder))?
}

fn run_in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload)))
    })
}

/// Drops the privileges of this thread and of the threads that it starts later. Returns the protections that did not
/// take effect.
///
/// `folder` is the directory in which files will be written later, if there is one.
///
/// - The user and group become `NOBODY` if `folder` is `None` and the thread has `CAP_SETUID` and `CAP_SETGID`. They
///   stay unchanged otherwise.
/// - All capabilities are dropped, except at most one for each task in `later` that fails without capabilities.
/// - Landlock prevents the thread from opening files for reading outside /proc/sys/net, executing programs, binding or
///   connecting TCP sockets, and signalling other processes. Files can be created, written and removed in `folder`
///   only. Restrictions that the kernel does not support are skipped.
///
/// # Errors
///
/// [`PrivilegeError::Capabilities`] or [`PrivilegeError::Landlock`] if the kernel refuses to drop capabilities, or
/// refuses a Landlock rule that it should support.
pub fn drop_privileges(later: &[LaterTask], folder: Option<&Path>) -> Result<Vec<PrivilegeGap>, PrivilegeError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    let user_gap = if folder.is_none() { leave_root()? } else { None };
    caps::clear(None, CapSet::Effective)?;
    let kept: CapsHashSet = later
        .iter()
        .filter(|task| !(task.works)())
        .filter_map(|task| task.capabilities.iter().copied().find(|capability| permitted.contains(capability)))
        .collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::clear(None, CapSet::Inheritable)?;
    let landlock_gap = restrict_access(folder)?;
    Ok(user_gap.into_iter().chain(landlock_gap).collect())
}

/// Changes the user and group of this thread to [`NOBODY`] if it has `CAP_SETUID` and `CAP_SETGID`. Returns a gap if
/// the thread is still root afterwards.
fn leave_root() -> Result<Option<PrivilegeGap>, CapsError> {
    let may_change = caps::has_cap(None, CapSet::Effective, Capability::CAP_SETGID)?
        && caps::has_cap(None, CapSet::Effective, Capability::CAP_SETUID)?;
    // The change fails in a user namespace that does not map NOBODY.
    let changed = if may_change { become_nobody() } else { Err(Errno::EPERM) };
    Ok(changed.err().filter(|_| geteuid().is_root()).map(PrivilegeGap::StillRoot))
}

/// Changes the user and group of this thread to [`NOBODY`], and removes its supplementary groups. Permitted
/// capabilities are kept.
fn become_nobody() -> nix::Result<()> {
    set_keepcaps(true)?;
    let change = |call: libc::c_long, id: u32| {
        // The C library's functions change every thread of the process, and fail for threads without privileges. The
        // system calls change this thread only.
        // SAFETY: `setresgid` and `setresuid` take three numbers and no pointers.
        Errno::result(unsafe { libc::syscall(call, id, id, id) })
    };
    // SAFETY: The length of the list is zero, so the kernel does not read the null pointer.
    let changed = Errno::result(unsafe { libc::syscall(libc::SYS_setgroups, 0, ptr::null::<libc::gid_t>()) })
        .and_then(|_| change(libc::SYS_setresgid, NOBODY))
        .and_then(|_| change(libc::SYS_setresuid, NOBODY));
    set_keepcaps(false)?;
    changed.map(drop)
}

/// Applies the Landlock rules of [`drop_privileges`] to this thread. Returns a gap if none of them takes effect.
fn restrict_access(folder: Option<&Path>) -> Result<Option<PrivilegeGap>, RulesetError> {
    // The default compatibility level of `Ruleset` skips restrictions that the kernel does not support.
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V6))?
        .handle_access(AccessNet::from_all(ABI::V6))?
        .scope(Scope::Signal)?
        .create()?;
    // The port report is written to a temporary file, which is then renamed over the previous report.
    let replace_files = AccessFs::MakeReg | AccessFs::WriteFile | AccessFs::RemoveFile;
    let folders = [(Some(Path::new(NETWORK_SETTINGS)), AccessFs::ReadFile.into()), (folder, replace_files)];
    // A directory that cannot be opened gets no rule: later accesses to it would fail anyway.
    let opened = folders.into_iter().filter_map(|(folder, access)| Some((PathFd::new(folder?).ok()?, access)));
    let paths = opened.map(|(folder, access)| Ok::<_, RulesetError>(PathBeneath::new(folder, access)));
    let status = rules.add_rules(paths)?.restrict_self()?;
    let gap = match status.landlock {
        LandlockStatus::NotEnabled => PrivilegeGap::LandlockDisabled,
        _ => PrivilegeGap::NoLandlock,
    };
    Ok((status.ruleset == RulesetStatus::NotEnforced).then_some(gap))
}
