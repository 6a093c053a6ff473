//! Chooses the attach mode, loads the program and attaches it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::errno::Errno;

use super::vacancy::{check_vacant, occupied_above};
use super::{ProgramPlan, ResponderError};
use crate::config::AttachMode;
use crate::host::Interface;
use crate::xdp::{TcpBounceSkel, XdpError, XdpLink, loader};

/// The reason why skb mode is the default on veth.
pub const LOST_ON_VETH: &str = "native mode on veth loses replies unless the peer runs XDP too";

/// A loaded program with the link that attaches it.
pub struct Attached {
    /// The mode that the program is attached in.
    pub mode: AttachMode,
    /// The reason for the mode, if the user should know it.
    pub remark: Option<String>,
    /// Whether the program supports multi-buffer frames.
    pub has_fragments: bool,
    /// The loaded program, with its maps.
    pub program: TcpBounceSkel<'static>,
    /// The link. Dropping it detaches the program.
    pub link: XdpLink,
}

/// A loaded program that is not attached yet.
pub struct Loaded {
    attempt: Attempt,
    program: TcpBounceSkel<'static>,
}

/// A way to attach the program.
#[derive(Clone, Copy)]
struct Attempt {
    mode: AttachMode,
    has_fragments: bool,
}

impl Attempt {
    /// Returns the first attempt for `plan`.
    ///
    /// Without a configured mode, native mode is tried first, except on veth.
    fn first(plan: &ProgramPlan) -> Self {
        let automatic = if plan.interface().is_veth() { AttachMode::Skb } else { AttachMode::Native };
        let mode = plan.configured_mode().unwrap_or(automatic);
        Self { mode, has_fragments: plan.fragments(mode).first() == Some(&true) }
    }

    /// Returns the attempt to make if the driver refuses this one: first the other choice of
    /// [`ProgramPlan::fragments`], then skb mode if no mode is configured.
    fn next(self, plan: &ProgramPlan) -> Option<Self> {
        let has_choice = !self.has_fragments && plan.fragments(self.mode).contains(&true);
        let is_automatic = self.mode == AttachMode::Native && plan.configured_mode().is_none();
        match (has_choice, is_automatic) {
            (true, _) => Some(Self { has_fragments: true, ..self }),
            (false, true) => Some(Self { mode: AttachMode::Skb, has_fragments: false }),
            (false, false) => None,
        }
    }

    /// Loads the program for this attempt.
    fn load(self, plan: &ProgramPlan, local_ports: Option<BorrowedFd>) -> Result<Loaded, ResponderError> {
        let program = load_in(plan, self.mode, self.has_fragments, local_ports)?;
        Ok(Loaded { attempt: self, program })
    }
}

/// Loads the program for the mode that is tried first.
///
/// The program shares the map `local_ports`, except in hw mode. Without it, the program has a table of its own.
///
/// # Errors
///
/// The kernel refuses the program or, in hw mode, the driver does.
pub fn load(plan: &ProgramPlan, local_ports: Option<BorrowedFd>) -> Result<Loaded, ResponderError> {
    Attempt::first(plan).load(plan, local_ports)
}

/// Attaches a program that [`load`] returned for `plan` and `local_ports`.
///
/// If the driver refuses it, the program is loaded again: with multi-buffer support if [`ProgramPlan::fragments`] lists
/// it as the second choice, and for skb mode if no mode is configured.
///
/// # Errors
///
/// The kernel or the driver refuses the program, or another program occupies the interface.
pub fn attach(
    plan: &ProgramPlan,
    mut loaded: Loaded,
    local_ports: Option<BorrowedFd>,
) -> Result<Attached, ResponderError> {
    let interface = plan.interface();
    let prefers_native = plan.configured_mode().is_none_or(|mode| mode == AttachMode::Native);
    let mut remark = (interface.is_veth() && prefers_native).then(|| LOST_ON_VETH.to_owned());
    loop {
        let Loaded { attempt, program } = loaded;
        let Attempt { mode, has_fragments } = attempt;
        let source = match XdpLink::new(program.progs.tcp_bounce.as_fd(), interface, mode) {
            Ok(link) => return Ok(Attached { mode, remark, has_fragments, program, link }),
            Err(source) => source,
        };
        drop(program);
        let error = attach_error(interface, mode, source);
        let (ResponderError::Refused { source, .. }, Some(next)) = (&error, attempt.next(plan)) else {
            return Err(error);
        };
        if next.mode != mode {
            remark = Some(format!("the driver refuses {mode} mode: {source}"));
        }
        loaded = next.load(plan, local_ports)?;
    }
}

/// Loads the program for `mode` without attaching it, with or without support for multi-buffer frames.
///
/// # Errors
///
/// [`ResponderError::Refused`] if the driver refuses to offload the program; otherwise the error of [`loader::load`].
fn load_in(
    plan: &ProgramPlan,
    mode: AttachMode,
    fragments: bool,
    local_ports: Option<BorrowedFd>,
) -> Result<TcpBounceSkel<'static>, ResponderError> {
    let inputs = plan.inputs(mode, fragments);
    if mode == AttachMode::Hw {
        return loader::load(&inputs, Some(plan.interface().index)).map_err(|error| match error {
            // The driver refuses a program when it is loaded, not when it is attached.
            XdpError::Load { source, .. } => refused(plan.interface(), mode, source.into()),
            error => error.into(),
        });
    }
    let loaded = match local_ports {
        Some(local_ports) => loader::load_sharing(&inputs, local_ports),
        None => loader::load(&inputs, None),
    };
    Ok(loaded?)
}

/// Has the kernel verify the program for `mode`: loads the program and unloads it.
///
/// # Errors
///
/// The kernel or, in hw mode, the driver refuses the program.
pub fn verify(plan: &ProgramPlan, mode: AttachMode) -> Result<(), ResponderError> {
    plan.fragments(mode).iter().try_for_each(|&fragments| load_in(plan, mode, fragments, None).map(drop))
}

/// Converts an error of `BPF_LINK_CREATE`. If the errno reports a conflict, searches for the program in the way.
fn attach_error(interface: &Interface, mode: AttachMode, source: io::Error) -> ResponderError {
    match source.raw_os_error().map(Errno::from_raw) {
        // Another process attached a program after `check_vacant` had found none.
        Some(Errno::EBUSY) => check_vacant(interface).err().unwrap_or_else(|| refused(interface, mode, source.into())),
        // The interface has a program in another mode, or an upper device has one (`dev_xdp_attach` of Linux).
        Some(Errno::EEXIST) => {
            check_vacant(interface).and_then(|()| occupied_above(interface)).unwrap_or_else(|error| error)
        }
        Some(Errno::ENODEV) => ResponderError::Removed { interface: interface.name.clone() },
        Some(Errno::EPERM | Errno::EACCES) => {
            ResponderError::Attach { interface: interface.name.clone(), mode, source }
        }
        _ => refused(interface, mode, source.into()),
    }
}

fn refused(
    interface: &Interface,
    mode: AttachMode,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> ResponderError {
    ResponderError::Refused { interface: interface.name.clone(), mode, source }
}
