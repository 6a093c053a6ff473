//! The initial sequence number: fixed, or keyed with a key from a file or a random key.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use tcp_bounce_wire::Isn;

use super::{ConfigError, IsnChoice, PostHandshake, Profile, SynAckConfig};

/// Returns the configured source of the ISN. Without one, selects [`IsnChoice::Keyed`] if a profile or an action needs
/// it, and [`IsnChoice::DEFAULT`] otherwise.
///
/// # Errors
///
/// [`ConfigError::ProfileNeedsKey`] or [`ConfigError::NeedsKey`] if the ISN is fixed and a profile or an action needs a
/// key; [`ConfigError::UnusedKey`] if the ISN is fixed and a key file is configured.
pub fn choose(
    syn_ack: &SynAckConfig,
    post_handshake: &PostHandshake,
    profile: Option<&Profile>,
) -> Result<IsnChoice, ConfigError> {
    let choice = match (syn_ack.isn, profile, post_handshake.keyed_actions().first()) {
        (Some(IsnChoice::Fixed(_)), Some(_), _) => return Err(ConfigError::ProfileNeedsKey),
        (Some(IsnChoice::Fixed(_)), None, Some(action)) => return Err(ConfigError::NeedsKey { action }),
        (None, Some(_), _) | (None, _, Some(_)) => IsnChoice::Keyed,
        (choice, ..) => choice.unwrap_or(IsnChoice::DEFAULT),
    };
    match choice {
        IsnChoice::Fixed(_) if syn_ack.key_file.is_some() => Err(ConfigError::UnusedKey),
        choice => Ok(choice),
    }
}

/// Returns the ISN setting of the program. A keyed ISN gets the configured key. Without one, it gets the key in the key
/// file, or a random key if no key file is configured.
///
/// # Errors
///
/// The errors of [`choose`]; [`ConfigError::ReadKey`] or [`ConfigError::InvalidKey`] for the key file;
/// [`ConfigError::NoRandomness`] if no random key can be generated.
pub fn resolve(
    syn_ack: &SynAckConfig,
    post_handshake: &PostHandshake,
    profile: Option<&Profile>,
) -> Result<Isn, ConfigError> {
    match choose(syn_ack, post_handshake, profile)? {
        IsnChoice::Fixed(isn) => Ok(Isn::Fixed(isn)),
        // The key is not read again: the key file may be a FIFO.
        IsnChoice::Keyed => syn_ack.key.map_or_else(|| key(syn_ack.key_file.as_deref()), Ok).map(Isn::Keyed),
    }
}

/// Returns the key in `file`, or a random key.
///
/// # Errors
///
/// [`ConfigError::ReadKey`] or [`ConfigError::InvalidKey`] for the key file; [`ConfigError::NoRandomness`] if no random
/// key can be generated.
pub fn key(file: Option<&Path>) -> Result<[u8; 16], ConfigError> {
    let Some(path) = file else {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(ConfigError::NoRandomness)?;
        return Ok(key);
    };
    read_key(path)
}

fn read_key(path: &Path) -> Result<[u8; 16], ConfigError> {
    // The maximum number of bytes to read, because the file may be endless, such as /dev/zero. A key with white space
    // around it fits.
    const LIMIT: u64 = 64;
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LIMIT).read_to_string(&mut text));
    read.map_err(|source| ConfigError::ReadKey { path: path.to_owned(), source })?;
    let digits = text.trim();
    let is_key = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let key = is_key.then(|| u128::from_str_radix(digits, 16).ok()).flatten();
    key.map(u128::to_be_bytes).ok_or_else(|| ConfigError::InvalidKey { path: path.to_owned() })
}
