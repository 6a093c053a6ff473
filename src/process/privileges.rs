//! What the process gives up as soon as it is attached: who takes it over then gains nothing.
//!
//! Users, capabilities and Landlock's rules belong to a thread, and to those that it starts from then on (`credentials(7)`,
//! `capabilities(7)`, `landlock(7)`). So there is no other thread yet when the main one gives up its own, but those that were
//! [started without](run_unprivileged).

use std::path::Path;
use std::{io, panic, ptr, thread};

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetError, Scope,
};
use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::set_keepcaps;

/// Why something could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// A capability.
    #[error(transparent)]
    Capabilities(#[from] CapsError),
    /// Access to files, to hosts or to other processes.
    #[error(transparent)]
    Landlock(#[from] RulesetError),
    /// A thread did not start.
    #[error("cannot start a thread")]
    Thread(#[from] io::Error),
}

/// What has to be done later on, and the capabilities of which it takes the first that there is, if it cannot be done without.
pub type NeededLater<'a> = (&'a [Capability], &'a dyn Fn() -> bool);

/// Does `work` in a thread that has given up everything, so that the threads that it starts have nothing to give up.
pub fn run_unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, PrivilegeError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, || drop_privileges(&[], None).map(|()| work()))?;
        thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
    })
}

/// The user and the group that own nothing.
const NOBODY: u32 = 65534;

/// Gives up, in this thread and those that it starts: to be root, unless files are to be named in `folder`; all capabilities
/// but those that `later` does not work without; and, as far as the kernel has Landlock for it, to open files, to execute any, to
/// create, write or remove any but in `folder`, to open TCP connections or listen for some, and to signal other processes.
pub fn drop_privileges(later: &[NeededLater], folder: Option<&Path>) -> Result<(), PrivilegeError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    let may_change = |capability| caps::has_cap(None, CapSet::Effective, capability);
    if folder.is_none() && may_change(Capability::CAP_SETGID)? && may_change(Capability::CAP_SETUID)? {
        // In a user namespace there may be no such user; root is none there either.
        let _ = become_nobody();
    }
    caps::clear(None, CapSet::Effective)?;
    let kept: CapsHashSet = later
        .iter()
        .filter(|(_, works)| !works())
        .filter_map(|(capabilities, _)| capabilities.iter().copied().find(|capability| permitted.contains(capability)))
        .collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::clear(None, CapSet::Inheritable)?;

    // What the kernel does not know of it is left out.
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V6))?
        .handle_access(AccessNet::from_all(ABI::V6))?
        .scope(Scope::Signal)?
        .create()?;
    // Creates a file, writes it, and renames it over the older one.
    let replace_files = AccessFs::MakeReg | AccessFs::WriteFile | AccessFs::RemoveFile;
    // What cannot be opened is not opened later either.
    let folder = folder.and_then(|folder| PathFd::new(folder).ok());
    rules
        .add_rules(folder.map(|folder| Ok::<_, RulesetError>(PathBeneath::new(folder, replace_files))))?
        .restrict_self()?;
    Ok(())
}

/// Makes this thread one of the user and group [`NOBODY`], which keeps its permitted capabilities.
fn become_nobody() -> nix::Result<()> {
    set_keepcaps(true)?;
    // The functions of the C library would change all threads, of which some have given up the right to do so.
    // SAFETY: They take numbers, and no group from a list of none.
    unsafe {
        Errno::result(libc::syscall(libc::SYS_setgroups, 0, ptr::null::<libc::gid_t>()))?;
        Errno::result(libc::syscall(libc::SYS_setresgid, NOBODY, NOBODY, NOBODY))?;
        Errno::result(libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY))?;
    }
    set_keepcaps(false)
}
