//! Files of the user, of limited size.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The largest file, in bytes.
const LARGEST: u64 = 16 << 20;

/// Returns the content of a file.
///
/// # Errors
///
/// The error of `open(2)` or `read(2)`, or `FileTooLarge`.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // The file may be endless, such as /dev/zero.
    let length = File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if u64::try_from(length).is_ok_and(|length| length <= LARGEST) {
        Ok(bytes)
    } else {
        Err(io::ErrorKind::FileTooLarge.into())
    }
}

/// Returns the text in a file.
///
/// # Errors
///
/// The errors of [`read`], or `InvalidData` if the content is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}
