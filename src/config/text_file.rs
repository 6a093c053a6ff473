//! Files of the user, of limited size.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The size in bytes up to which most files are read.
const LARGEST: u64 = 16 << 20;

/// Returns the content of a file of at most 16 MiB.
///
/// # Errors
///
/// The error of `open(2)` or `read(2)`, or `FileTooLarge`.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_up_to(path, LARGEST)
}

fn read_up_to(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // The file may be endless, such as /dev/zero.
    let length = File::open(path)?.take(largest + 1).read_to_end(&mut bytes)?;
    if u64::try_from(length).is_ok_and(|length| length <= largest) {
        Ok(bytes)
    } else {
        Err(io::ErrorKind::FileTooLarge.into())
    }
}

/// Returns the text in a file of at most 16 MiB.
///
/// # Errors
///
/// The errors of [`read`], or `InvalidData` if the content is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    read_text_up_to(path, LARGEST)
}

/// Returns the text in a file of at most `largest` bytes.
///
/// # Errors
///
/// The errors of [`read_text`].
pub fn read_text_up_to(path: &Path, largest: u64) -> io::Result<String> {
    let bytes = read_up_to(path, largest)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}
