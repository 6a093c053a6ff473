//! The native protocol of the systemd journal (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::env;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use nix::sys::stat::fstat;

/// The path of journald's socket for the native protocol.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// The length of the longest field name that journald accepts, in bytes.
const MAX_NAME: usize = 64;

/// The priority of an entry. The discriminants are the levels of syslog(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// An error, or a preflight check that finds a reason not to start.
    Error = 3,
    /// A problem that does not end the run.
    Warning = 4,
    /// Any other message.
    Info = 6,
    /// A client event.
    Debug = 7,
}

/// A sender of journal entries.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

/// Returns whether `stream` is connected to the journal, according to `JOURNAL_STREAM` (systemd.exec(5)).
pub fn is_journal(stream: &impl AsFd) -> bool {
    let Ok(expected) = env::var("JOURNAL_STREAM") else { return false };
    fstat(stream).is_ok_and(|file| format!("{}:{}", file.st_dev, file.st_ino) == expected)
}

impl Journal {
    /// Creates a sender to the socket at `path`. Each send looks up the path again, so journald may be restarted.
    ///
    /// # Errors
    ///
    /// The sending socket cannot be created.
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { socket: UnixDatagram::unbound()?, path: path.to_owned() })
    }

    /// Sends an entry with `fields`, pairs of a name and a value. Omits fields whose names journald would reject.
    ///
    /// # Errors
    ///
    /// The entry cannot be sent, for example because journald is not running.
    pub fn send(&self, priority: Priority, message: &str, fields: &[(String, String)]) -> io::Result<()> {
        let entry = encode(priority, message, fields);
        match self.socket.send_to(&entry, &self.path) {
            Err(error) if error.raw_os_error() == Some(Errno::EMSGSIZE as i32) => self.send_file(&entry),
            sent => sent.map(drop),
        }
    }

    /// Sends an entry that is too long for a datagram: passes the descriptor of a sealed memfd.
    fn send_file(&self, entry: &[u8]) -> io::Result<()> {
        let mut file = File::from(memfd_create(c"journal-entry", MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC)?);
        file.write_all(entry)?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::all()))?;
        let descriptors = [file.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let address = UnixAddr::new(&self.path)?;
        sendmsg(self.socket.as_raw_fd(), &[], &rights, MsgFlags::empty(), Some(&address))?;
        Ok(())
    }
}

/// Encodes an entry in the native protocol.
fn encode(priority: Priority, message: &str, fields: &[(String, String)]) -> Vec<u8> {
    let mut entry = Vec::new();
    encode_field(&mut entry, "PRIORITY", &(priority as u8).to_string());
    encode_field(&mut entry, "MESSAGE", message);
    for (name, value) in fields.iter().filter(|(name, _)| is_valid(name)) {
        encode_field(&mut entry, name, value);
    }
    entry
}

/// Appends a field. A value with several lines is preceded by its length in bytes, a little-endian `u64`.
fn encode_field(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend((value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend(value.as_bytes());
    entry.push(b'\n');
}

/// Returns whether journald accepts `name` as a field name.
fn is_valid(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    name.len() <= MAX_NAME && name.starts_with(|first: char| first.is_ascii_uppercase()) && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::{FromRawFd as _, OwnedFd};

    use nix::cmsg_space;
    use nix::sys::socket::{ControlMessageOwned, recvmsg};

    use super::*;

    fn field(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn encodes_values_with_several_lines_by_length() {
        let fields = [field("TCP_BOUNCE_PORT", "80"), field("TCP_BOUNCE_HINT", "a\nb"), field("tcp-bounce", "")];
        assert_eq!(
            encode(Priority::Warning, "text", &fields),
            b"PRIORITY=4\nMESSAGE=text\nTCP_BOUNCE_PORT=80\nTCP_BOUNCE_HINT\n\x03\0\0\0\0\0\0\0a\nb\n"
        );
    }

    #[test]
    fn sends_long_entries_as_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::new(&path).unwrap();
        let message = "x".repeat(8 << 20);
        journal.send(Priority::Info, &message, &[]).unwrap();

        let mut space = cmsg_space!([i32; 1]);
        let received = recvmsg::<UnixAddr>(receiver.as_raw_fd(), &mut [], Some(&mut space), MsgFlags::empty()).unwrap();
        let Some(ControlMessageOwned::ScmRights(descriptors)) = received.cmsgs().unwrap().next() else {
            panic!("no descriptor")
        };
        // SAFETY: The descriptor was just received, and has no other owner.
        let mut file = File::from(unsafe { OwnedFd::from_raw_fd(descriptors[0]) });
        let mut entry = Vec::new();
        io::Seek::rewind(&mut file).unwrap();
        file.read_to_end(&mut entry).unwrap();
        assert!(entry == encode(Priority::Info, &message, &[]));
    }
}
