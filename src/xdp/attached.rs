//! The XDP programs of other processes that are attached to an interface.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::os::fd::AsFd as _;

use libbpf_rs::libbpf_sys::bpf_xdp_query_opts;
use libbpf_rs::query::{LinkInfoIter, LinkTypeInfo, ProgInfoIter, XdpLinkInfo};
use libbpf_rs::{Xdp, XdpFlags};
use serde::Serialize;

use super::XdpError;
use crate::config::AttachMode;
use crate::host::Interface;

/// An XDP program that another process attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttachedProgram {
    /// The name of the program, if the kernel reports one.
    pub name: Option<String>,
    /// The id of the program, as `bpftool prog` shows it.
    pub id: u32,
    /// The mode that the program is attached in.
    pub mode: AttachMode,
    /// Whether a visible bpf_link attaches the program. Only the holder of the link can detach it.
    pub has_link: bool,
}

impl AttachedProgram {
    /// Finds the program that is attached to `interface`, in any mode.
    ///
    /// # Errors
    ///
    /// [`XdpError::Query`] if the kernel does not answer.
    pub fn find(interface: &Interface) -> Result<Option<Self>, XdpError> {
        let attached = query(interface)?;
        let modes = [
            (AttachMode::Native, attached.drv_prog_id),
            (AttachMode::Skb, attached.skb_prog_id),
            (AttachMode::Hw, attached.hw_prog_id),
        ];
        let Some((mode, id)) = modes.into_iter().find(|&(_, id)| id != 0) else { return Ok(None) };
        let program = ProgInfoIter::default().find(|program| program.id == id);
        let name = program.map(|program| program.name.to_string_lossy().into_owned());
        let is_here = |link: &XdpLinkInfo| link.ifindex == interface.index;
        let has_link = LinkInfoIter::default()
            .any(|link| link.prog_id == id && matches!(&link.info, LinkTypeInfo::Xdp(link) if is_here(link)));
        Ok(Some(Self { name, id, mode, has_link }))
    }

    /// Returns whether the program is the dispatcher of libxdp, which runs several programs in sequence.
    pub fn is_dispatcher(&self) -> bool {
        self.name.as_deref() == Some("xdp_dispatcher")
    }

    /// Returns the command that detaches the program from `interface`.
    ///
    /// `None` if another process holds its link, or if it is a dispatcher, which need not go.
    pub fn detach_command(&self, interface: &str) -> Option<String> {
        let mode = match self.mode {
            AttachMode::Native => "xdpdrv",
            AttachMode::Skb => "xdpgeneric",
            AttachMode::Hw => "xdpoffload",
        };
        (!self.has_link && !self.is_dispatcher()).then(|| format!("ip link set dev {interface} {mode} off"))
    }

    /// Returns the remedy for the program being attached to `interface`.
    pub fn hint(&self, interface: &str) -> String {
        if self.is_dispatcher() {
            return format!(
                "it is libxdp's; `xdp-loader load -m {} {interface} tcp_bounce.bpf.o` adds the object beside what it calls, \
                 but that answers on every port, for every address, and spares no listener",
                self.mode
            );
        }
        match self.detach_command(interface) {
            Some(off) => format!(
                "it is never replaced; `bpftool prog show id {}` tells more of it, and `{off}` takes it off, unless a \
                 process holds it",
                self.id
            ),
            None => {
                "it is never replaced, and goes when the process ends that attached it; another tcp-bounce, perhaps: \
                     `pgrep --list-full --exact tcp-bounce`"
                    .into()
            }
        }
    }
}

impl Display for AttachedProgram {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "\"{name}\" (id {}, {} mode)", self.id, self.mode),
            None => write!(f, "id {}, {} mode", self.id, self.mode),
        }
    }
}

/// Asks the kernel which programs are attached to `interface`, and which XDP features its driver supports.
///
/// # Errors
///
/// [`XdpError::Query`] if the kernel does not answer.
pub fn query(interface: &Interface) -> Result<bpf_xdp_query_opts, XdpError> {
    // libbpf-rs queries through a value that holds a program's descriptor. The kernel ignores it, so any descriptor
    // fits.
    let stdin = io::stdin();
    let answer = Xdp::new(stdin.as_fd()).query(interface.index as i32, XdpFlags::NONE);
    answer.map_err(|source| XdpError::Query { interface: interface.name.clone(), source })
}
