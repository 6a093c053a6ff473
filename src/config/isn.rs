//! The initial sequence number: fixed, or keyed with a key that is read or made.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use tcp_bounce_wire::Isn;

use super::{ConfigError, IsnChoice, PostHandshake, SynAckConfig};

/// Chooses the source of the ISN.
///
/// # Errors
///
/// [`ConfigError::NeedsKey`] or [`ConfigError::UnusedKey`] if the settings contradict each other.
pub fn choose(syn_ack: &SynAckConfig, post_handshake: &PostHandshake) -> Result<IsnChoice, ConfigError> {
    let choice = match (syn_ack.isn, post_handshake.keyed_actions().first()) {
        (Some(IsnChoice::Fixed(_)), Some(action)) => return Err(ConfigError::NeedsKey { action }),
        (None, Some(_)) => IsnChoice::Keyed,
        (choice, _) => choice.unwrap_or(IsnChoice::DEFAULT),
    };
    match choice {
        IsnChoice::Fixed(_) if syn_ack.key_file.is_some() => Err(ConfigError::UnusedKey),
        choice => Ok(choice),
    }
}

/// Resolves the ISN setting of the program: reads the key file, or makes a random key.
///
/// # Errors
///
/// The errors of [`choose`], and those of reading or making the key.
pub fn resolve(syn_ack: &SynAckConfig, post_handshake: &PostHandshake) -> Result<Isn, ConfigError> {
    match choose(syn_ack, post_handshake)? {
        IsnChoice::Fixed(isn) => Ok(Isn::Fixed(isn)),
        IsnChoice::Keyed => match &syn_ack.key_file {
            Some(path) => read_key(path).map(Isn::Keyed),
            None => {
                let mut key = [0; 16];
                getrandom::fill(&mut key).map_err(ConfigError::NoRandomness)?;
                Ok(Isn::Keyed(key))
            }
        },
    }
}

fn read_key(path: &Path) -> Result<[u8; 16], ConfigError> {
    // Enough for a key with white space around it. The file may be endless, such as /dev/zero.
    const LIMIT: u64 = 64;
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LIMIT).read_to_string(&mut text));
    read.map_err(|source| ConfigError::ReadKey { path: path.to_owned(), source })?;
    let digits = text.trim();
    let is_key = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let key = is_key.then(|| u128::from_str_radix(digits, 16).ok()).flatten();
    key.map(u128::to_be_bytes).ok_or_else(|| ConfigError::InvalidKey { path: path.to_owned() })
}
