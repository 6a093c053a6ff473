//! Chooses the attach mode, and attaches the program.

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

/// Loads the program and attaches it in the configured mode.
///
/// Without a configured mode, native mode is tried first, and skb mode if the driver refuses it. On veth, only skb mode
/// is tried. Multi-buffer frames are supported as [`ProgramPlan::fragments`] says.
///
/// The program shares the map `local_ports`, except in hw mode. Without it, the program has a table of its own.
///
/// # Errors
///
/// The kernel or the driver refuses the program, or another program occupies the interface.
pub fn attach(plan: &ProgramPlan, local_ports: Option<BorrowedFd>) -> Result<Attached, ResponderError> {
    let attach_in = |mode, remark| attach_in(plan, mode, remark, local_ports);
    let is_veth = plan.interface().is_veth();
    let lost_on_veth = is_veth.then(|| LOST_ON_VETH.to_owned());
    match plan.configured_mode() {
        Some(AttachMode::Native) => attach_in(AttachMode::Native, lost_on_veth),
        Some(mode) => attach_in(mode, None),
        None if is_veth => attach_in(AttachMode::Skb, lost_on_veth),
        None => match attach_in(AttachMode::Native, None) {
            Err(ResponderError::Refused { source, .. }) => {
                attach_in(AttachMode::Skb, Some(format!("the driver refuses native mode: {source}")))
            }
            attached => attached,
        },
    }
}

/// Loads the program and attaches it in `mode`. `remark` becomes [`Attached::remark`].
fn attach_in(
    plan: &ProgramPlan,
    mode: AttachMode,
    remark: Option<String>,
    local_ports: Option<BorrowedFd>,
) -> Result<Attached, ResponderError> {
    let attach = |has_fragments| {
        let program = load(plan, mode, has_fragments, local_ports)?;
        let link = XdpLink::new(program.progs.tcp_bounce.as_fd(), plan.interface(), mode)
            .map_err(|source| attach_error(plan.interface(), mode, source))?;
        Ok(Attached { mode, remark: remark.clone(), has_fragments, program, link })
    };
    match plan.fragments(mode) {
        &[first, second] => match attach(first) {
            Err(ResponderError::Refused { .. }) => attach(second),
            attached => attached,
        },
        choices => attach(choices.contains(&true)),
    }
}

/// Loads the program for `mode` without attaching it, with or without support for multi-buffer frames.
///
/// # Errors
///
/// [`ResponderError::Refused`] if the driver refuses to offload the program; otherwise the error of [`loader::load`].
fn load(
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
    plan.fragments(mode).iter().try_for_each(|&fragments| load(plan, mode, fragments, None).map(drop))
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
