//! The finding about the permissions of the key file.

use std::os::unix::fs::PermissionsExt as _;

use super::finding::Finding;
use crate::config::SynAckConfig;
use crate::diagnosis;

/// The permission bit that lets every user read a file (`S_IROTH`).
const READABLE_BY_OTHERS: u32 = 0o004;

/// Returns a warning if every user can read the configured key file.
///
/// A file that is not regular, such as a FIFO, or that cannot be queried has no warning.
pub fn check(syn_ack: &SynAckConfig) -> Option<Finding> {
    let path = syn_ack.key_file.as_ref()?;
    let metadata = path.metadata().ok()?;
    let is_readable = metadata.is_file() && metadata.permissions().mode() & READABLE_BY_OTHERS != 0;
    let message = || format!("everyone can read the key file {}", path.display());
    let command = || format!("chmod 600 {}", diagnosis::quoted(path));
    is_readable.then(|| Finding::warning("key_readable", message()).with_command(command()))
}
