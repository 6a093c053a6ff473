//! XDP programs of other processes on an interface, which tcp-bounce never replaces.

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

/// The name of libxdp's dispatcher program.
const DISPATCHER: &str = "xdp_dispatcher";

/// An XDP program that another process attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttachedProgram {
    /// The name of the program. `None` if the process may not list programs, which requires `CAP_SYS_ADMIN`.
    pub name: Option<String>,
    /// The id of the program, as `bpftool prog` shows it.
    pub id: u32,
    /// The attach mode of the program.
    pub mode: AttachMode,
    /// Whether a bpf_link attaches the program. `ip link` cannot detach such a program.
    ///
    /// Also `false` if the process may not list links, which requires `CAP_SYS_ADMIN`.
    pub has_link: bool,
}

impl AttachedProgram {
    /// Finds the program that is attached to `interface`, in any mode.
    ///
    /// # Errors
    ///
    /// [`XdpError::Query`] if the kernel refuses the query.
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

    /// Returns whether the program is the dispatcher of libxdp, which runs several XDP programs in sequence.
    pub fn is_dispatcher(&self) -> bool {
        self.name.as_deref() == Some(DISPATCHER)
    }

    /// Returns the command that detaches the program from `interface`.
    ///
    /// Returns `None` if a bpf_link attaches the program: the command would fail. Also returns `None` for the
    /// dispatcher of libxdp, which can stay: `xdp-loader` adds programs to it.
    pub fn detach_command(&self, interface: &str) -> Option<String> {
        let mode = match self.mode {
            AttachMode::Native => "xdpdrv",
            AttachMode::Skb => "xdpgeneric",
            AttachMode::Hw => "xdpoffload",
        };
        (!self.has_link && !self.is_dispatcher()).then(|| format!("ip link set dev {interface} {mode} off"))
    }

    /// Returns the hint for a start on `interface` that failed because this program is attached. It includes
    /// [`AttachedProgram::detach_command`], if there is one.
    pub fn hint(&self, interface: &str) -> String {
        match self.detach_command(interface) {
            Some(detach) => format!("identify it with `{}`, then detach it with `{detach}`", self.show_command()),
            None => self.explanation(interface),
        }
    }

    /// Returns how to proceed with the program on `interface`, without [`AttachedProgram::detach_command`].
    pub fn explanation(&self, interface: &str) -> String {
        let identify = format!("identify it with `{}`", self.show_command());
        match self.name.as_deref() {
            Some(DISPATCHER) => format!(
                "run `xdp-loader load -m {} {interface} tcp_bounce.bpf.o` to add the object; without this command, it \
                 answers for every address, and on every port without a local listener",
                self.mode
            ),
            Some("tcp_bounce") if self.has_link => {
                "another tcp-bounce attached it: find it with `pgrep --list-full --exact tcp-bounce`".into()
            }
            _ if self.has_link => format!("{identify}; it stays attached until its process ends"),
            _ => format!("{identify} before you detach it"),
        }
    }

    /// Returns the command that shows details of the program.
    fn show_command(&self) -> String {
        format!("bpftool prog show id {}", self.id)
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

/// Returns the ids of the programs that are attached to `interface`, and the XDP features of its driver.
///
/// # Errors
///
/// [`XdpError::Query`] if the kernel refuses the query.
pub fn query(interface: &Interface) -> Result<bpf_xdp_query_opts, XdpError> {
    // `Xdp` requires the descriptor of a program, but the query does not use it. Any open descriptor works.
    let stdin = io::stdin();
    let answer = Xdp::new(stdin.as_fd()).query(interface.index as i32, XdpFlags::NONE);
    answer.map_err(|source| XdpError::Query { interface: interface.name.clone(), source })
}
