//! The key of `--isn keyed`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use tcp_bounce_wire::Isn;

use crate::cli::{Cli, IsnChoice};
use crate::error::Error;
use crate::then::Plan;

/// Where the initial sequence numbers of this run come from: a key is read, or made. Some modes of `plan` need one.
pub fn isn(cli: &Cli, plan: &Plan) -> Result<Isn, Error> {
    let choice = match (cli.isn, plan.following().first()) {
        (Some(IsnChoice::Fixed(_)), Some(mode)) => return Err(Error::NeedsKey { mode }),
        (None, Some(_)) => IsnChoice::Keyed,
        (choice, _) => choice.unwrap_or(IsnChoice::DEFAULT),
    };
    match (choice, &cli.key_file) {
        (IsnChoice::Fixed(isn), None) => Ok(Isn::Fixed(isn)),
        (IsnChoice::Fixed(_), Some(_)) => Err(Error::KeyWithoutUse),
        (IsnChoice::Keyed, Some(path)) => read(path).map(Isn::Keyed),
        (IsnChoice::Keyed, None) => {
            let mut key = [0; 16];
            getrandom::fill(&mut key).map_err(Error::NoRandomness)?;
            Ok(Isn::Keyed(key))
        }
    }
}

fn read(path: &Path) -> Result<[u8; 16], Error> {
    // A key with some space around it, and no more of a file that may have no end.
    const MOST: u64 = 64;
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_string(&mut text));
    read.map_err(|source| Error::KeyFile { path: path.to_owned(), source })?;
    let digits = text.trim();
    let is_key = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let key = is_key.then(|| u128::from_str_radix(digits, 16).ok()).flatten();
    key.map(u128::to_be_bytes).ok_or_else(|| Error::NoKey { path: path.to_owned() })
}
