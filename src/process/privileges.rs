//! Dropping privileges: an attacker who takes over the attached process gains as little as possible.
//!
//! Users, capabilities and Landlock rules belong to a thread, and to the threads that it starts from then on
//! (`credentials(7)`, `capabilities(7)`, `landlock(7)`). Threads that must start before the main thread drops its
//! privileges are started by [`run_unprivileged`].

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

/// The user and the group that own no files ("nobody").
const NOBODY: u32 = 65534;

/// A privilege cannot be dropped.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The capabilities cannot be changed.
    #[error(transparent)]
    Capabilities(#[from] CapsError),
    /// Landlock refuses the rules.
    #[error(transparent)]
    Landlock(#[from] RulesetError),
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[from] io::Error),
}

/// A protection that did not take effect when the privileges were dropped.
///
/// Landlock that restricts less than it could is no gap: each kernel has the restrictions of its time, and the
/// documentation names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrivilegeGap {
    /// The process is still root.
    #[error("the process stays root")]
    StillRoot(#[source] Errno),
    /// The kernel lacks Landlock, or a seccomp filter denies it.
    #[error("Landlock does not restrict the process: the kernel lacks it, or a seccomp filter denies it")]
    NoLandlock,
    /// Landlock was disabled when the kernel booted.
    #[error("Landlock does not restrict the process: it is disabled")]
    LandlockDisabled,
}

impl PrivilegeGap {
    /// Returns the name of the gap for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::StillRoot(_) => "still_root",
            Self::NoLandlock | Self::LandlockDisabled => "no_landlock",
        }
    }

    /// Returns the remedy.
    pub fn hint(self) -> &'static str {
        match self {
            Self::StillRoot(_) => {
                "grant CAP_SETUID and CAP_SETGID, and map user and group 65534 in a user namespace; or start it as \
                 another user"
            }
            Self::NoLandlock => "Landlock needs Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK",
            Self::LandlockDisabled => "add landlock to the kernel's boot parameter lsm=",
        }
    }
}

/// A task of the time after privileges were dropped.
pub struct LaterTask<'a> {
    /// The capabilities that the task may need. The first one that the process has is kept, if the task does not work.
    pub capabilities: &'a [Capability],
    /// Returns whether the task works with the present capabilities.
    pub works: &'a dyn Fn() -> bool,
}

/// Runs `work` in a thread without privileges, so that the threads that it starts have none to drop.
///
/// # Errors
///
/// The errors of [`drop_privileges`], or [`PrivilegeError::Thread`].
pub fn run_unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, PrivilegeError> {
    run_in_thread(|| drop_privileges(&[], None).map(|_| work()))?
}

/// Returns the gaps that [`drop_privileges`] will leave with `folder`, by dropping the privileges of a thread that then
/// ends.
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

/// Drops privileges of this thread and of the threads that it starts from now on, and returns the protections that did
/// not take effect.
///
/// - Root becomes [`NOBODY`], unless files in `folder` will be written.
/// - All capabilities are dropped, except those that a task of `later` does not work without.
/// - As far as the kernel's Landlock supports it, these are forbidden: to read files; to execute programs; to create,
///   write, rename or remove files outside `folder`; to open or accept TCP connections; to send signals to other
///   processes.
///
/// # Errors
///
/// The kernel refuses to drop capabilities, or refuses a Landlock rule that it should support.
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

/// Changes to [`NOBODY`] if the thread may, and returns a gap if it is root after that.
fn leave_root() -> Result<Option<PrivilegeGap>, CapsError> {
    let may_change = caps::has_cap(None, CapSet::Effective, Capability::CAP_SETGID)?
        && caps::has_cap(None, CapSet::Effective, Capability::CAP_SETUID)?;
    // A user namespace may have no such user.
    let changed = if may_change { become_nobody() } else { Err(Errno::EPERM) };
    Ok(changed.err().filter(|_| geteuid().is_root()).map(PrivilegeGap::StillRoot))
}

/// Makes this thread one of the user and group [`NOBODY`]. It keeps its permitted capabilities.
fn become_nobody() -> nix::Result<()> {
    set_keepcaps(true)?;
    let change = |call: libc::c_long, id: u32| {
        // The C library's functions change all threads, and fail for those that have dropped their privileges.
        // SAFETY: Both system calls take three numbers.
        Errno::result(unsafe { libc::syscall(call, id, id, id) })
    };
    // SAFETY: An empty list of groups needs no memory.
    let changed = Errno::result(unsafe { libc::syscall(libc::SYS_setgroups, 0, ptr::null::<libc::gid_t>()) })
        .and_then(|_| change(libc::SYS_setresgid, NOBODY))
        .and_then(|_| change(libc::SYS_setresuid, NOBODY));
    set_keepcaps(false)?;
    changed.map(drop)
}

/// Forbids access to files outside `folder`, to TCP and to other processes, and returns a gap if Landlock does not take
/// effect.
fn restrict_access(folder: Option<&Path>) -> Result<Option<PrivilegeGap>, RulesetError> {
    // Restrictions that the kernel does not know are left out.
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V6))?
        .handle_access(AccessNet::from_all(ABI::V6))?
        .scope(Scope::Signal)?
        .create()?;
    // The report is created under a temporary name, written, and renamed over the older one.
    let replace_files = AccessFs::MakeReg | AccessFs::WriteFile | AccessFs::RemoveFile;
    // A folder that cannot be opened now cannot be opened later either.
    let folder = folder.and_then(|folder| PathFd::new(folder).ok());
    let status = rules
        .add_rules(folder.map(|folder| Ok::<_, RulesetError>(PathBeneath::new(folder, replace_files))))?
        .restrict_self()?;
    let gap = match status.landlock {
        LandlockStatus::NotEnabled => PrivilegeGap::LandlockDisabled,
        _ => PrivilegeGap::NoLandlock,
    };
    Ok((status.ruleset == RulesetStatus::NotEnforced).then_some(gap))
}
