//! The files of portspoof (<https://github.com/drk1wi/portspoof>): payloads by port, and signatures.
//!
//! Both contain regular expressions. Each one is expanded to a banner, by a generator that the key seeds: the same key
//! gives each port the same banner.

use std::collections::BTreeMap;

use rand::SeedableRng as _;
use rand::distr::Distribution as _;
use rand::rngs::Xoshiro256PlusPlus;
use rand_regex::Regex;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind};
use tcp_bounce_wire::Ending;
use tcp_bounce_wire::siphash::SipHash13;

use crate::config::{PortList, PortPattern};

use super::portspoof_syntax::{Dialect, to_regex};
use super::{PayloadConfig, Profile, ProfileError, ServiceConfig, ServicePorts, System};

/// The most repetitions of a part that may be repeated without limit, beyond the required ones. As in portspoof.
const REPETITIONS: u32 = 9;

/// The length in bytes above which an expression is not expanded at all, so that nested repetitions take little memory.
const LONGEST: usize = 1 << 16;

impl Profile {
    /// Parses a configuration of portspoof: lines such as `80 "payload"` and `51-60 "payload"`. Of several payloads for
    /// a port, the last one is used.
    ///
    /// # Errors
    ///
    /// A line has another form, or its payload cannot be expanded.
    pub fn parse_portspoof(text: &[u8], name: &str, key: &[u8; 16]) -> Result<Self, ProfileError> {
        let mut payloads = BTreeMap::new();
        for (line, entry) in entries(text) {
            let invalid = || is_toml(text).unwrap_or(ProfileError::InvalidEntry { line });
            let (ports, payload) = parse_entry(entry).ok_or_else(invalid)?;
            let regex = compile(payload, Dialect::Portspoof);
            let regex = regex.map_err(|reason| ProfileError::InvalidRegex { line, reason })?;
            for port in ports.0 {
                let payload = expand(&regex, key, u32::from(port)).filter(|payload| !payload.is_empty());
                payloads.insert(port, payload.ok_or(ProfileError::Expansion { line })?);
            }
        }
        let mut services: BTreeMap<Vec<u8>, PortList> = BTreeMap::new();
        payloads.into_iter().for_each(|(port, payload)| _ = services.entry(payload).or_default().0.insert(port));
        Self::of_banners(services.into_iter().map(|(payload, ports)| (ports, payload)), name, 0)
    }

    /// Parses a signature file of portspoof: one regular expression a line. The key selects a signature for each port.
    ///
    /// [`Profile::skipped_lines`] counts the lines that cannot be expanded.
    ///
    /// # Errors
    ///
    /// [`ProfileError::NoExpandableLine`] if no line can be expanded, and [`ProfileError::OtherFormat`] if the text is
    /// TOML or a configuration of portspoof.
    pub fn parse_signatures(text: &[u8], name: &str, key: &[u8; 16]) -> Result<Self, ProfileError> {
        // Nearly every line is a valid expression, even of a file in another format.
        let has_entries_only = entries(text).all(|(_, entry)| parse_entry(entry).is_some());
        if let Some(error) = is_toml(text).or_else(|| has_entries_only.then(|| is_configuration(text)).flatten()) {
            return Err(error);
        }
        let mut skipped = 0;
        let mut first = None;
        let mut banners = Vec::new();
        for (line, text) in numbered(text).filter(|(_, text)| !text.is_empty()) {
            let seed = u32::try_from(line).unwrap_or(u32::MAX);
            let banner = compile(text, Dialect::Nmap).and_then(|regex| {
                let banner = expand(&regex, key, seed).filter(|banner| !banner.is_empty());
                banner.ok_or_else(|| "it is empty or too long".to_owned())
            });
            match banner {
                Ok(banner) => banners.push((PortList::default(), banner)),
                Err(reason) => {
                    skipped += 1;
                    first.get_or_insert(ProfileError::NoExpandableLine { line, reason });
                }
            }
        }
        if banners.is_empty() {
            return Err(first.unwrap_or(ProfileError::NoPayload));
        }
        for port in 0..=u16::MAX {
            let index = hash(key, *b"choice", u32::from(port)) % banners.len() as u64;
            if let Some((ports, _)) = usize::try_from(index).ok().and_then(|index| banners.get_mut(index)) {
                ports.0.insert(port);
            }
        }
        Self::of_banners(banners.into_iter().filter(|(ports, _)| !ports.0.is_empty()), name, skipped)
    }

    /// Returns a profile whose services send a banner and close the connection, as portspoof does.
    fn of_banners(
        banners: impl Iterator<Item = (PortList, Vec<u8>)>,
        name: &str,
        skipped_lines: usize,
    ) -> Result<Self, ProfileError> {
        let service = |(ports, banner): (PortList, Vec<u8>)| ServiceConfig {
            name: None,
            ports: ServicePorts::Pattern(PortPattern::from(ports)),
            banner: PayloadConfig::from(&banner[..]),
            replies: Vec::new(),
            ending: Ending::Close,
        };
        let services: Vec<_> = banners.map(service).collect();
        if services.is_empty() {
            return Err(ProfileError::NoPayload);
        }
        Ok(Self { name: name.to_owned(), system: System::Host, services, skipped_lines })
    }
}

/// Returns the lines of `text` without their ends, numbered from 1.
fn numbered(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.enumerate().map(|(index, line)| (index + 1, line))
}

/// Returns the lines of a configuration that are neither empty nor a comment, with their numbers.
fn entries(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    numbered(text).filter(|(_, text)| !text.is_empty() && !text.starts_with(b"#"))
}

/// Returns an error if `text` has a service of a profile in TOML.
fn is_toml(text: &[u8]) -> Option<ProfileError> {
    let heading = numbered(text).find(|(_, text)| text.trim_ascii() == b"[[service]]");
    heading.map(|(line, _)| ProfileError::OtherFormat { line, format: "toml" })
}

/// Returns an error if the first line of `text` is one of a configuration of portspoof.
pub fn is_configuration(text: &[u8]) -> Option<ProfileError> {
    let (line, first) = entries(text).next()?;
    parse_entry(first).map(|_| ProfileError::OtherFormat { line, format: "portspoof" })
}

/// Returns the ports of a line, and the text between its first two quotes.
fn parse_entry(line: &[u8]) -> Option<(PortList, &[u8])> {
    let mut parts = line.splitn(3, |&byte| byte == b'"');
    let (ports, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let ports = str::from_utf8(ports).ok()?.trim();
    let is_range = ports.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    Some((ports.parse().ok().filter(|_| is_range)?, payload))
}

/// Returns the generator of `text`.
///
/// # Errors
///
/// The reason why `text` cannot be expanded.
fn compile(text: &[u8], dialect: Dialect) -> Result<Regex, String> {
    let mut parser = ParserBuilder::new().unicode(false).utf8(false).octal(true).build();
    let hir = parser.parse(&to_regex(text, dialect)).map_err(|error| match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        _ => "it is malformed".to_owned(),
    })?;
    if longest(&hir) > LONGEST {
        return Err("it is too long".to_owned());
    }
    Regex::with_hir(hir, REPETITIONS).map_err(|error| error.to_string())
}

/// Returns the maximum length of an expansion in bytes.
fn longest(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(_) => 1,
        HirKind::Capture(capture) => longest(&capture.sub),
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(repetition.min.saturating_add(REPETITIONS));
            longest(&repetition.sub).saturating_mul(most as usize)
        }
        HirKind::Concat(parts) => parts.iter().fold(0, |sum, part| longest(part).saturating_add(sum)),
        HirKind::Alternation(parts) => parts.iter().map(longest).max().unwrap_or(0),
    }
}

/// Expands `regex` by a generator that the key and `seed` determine. Returns `None` if the result is too long.
fn expand(regex: &Regex, key: &[u8; 16], seed: u32) -> Option<Vec<u8>> {
    let mut generator = Xoshiro256PlusPlus::seed_from_u64(hash(key, *b"banner", seed));
    let payload: Vec<u8> = regex.sample(&mut generator);
    let config = PayloadConfig::from(&payload[..]);
    (config.count_fields() <= Profile::MAX_FIELDS && config.longest() <= Profile::MAX_PAYLOAD).then_some(payload)
}

/// Returns a keyed hash of `number`, for one purpose.
fn hash(key: &[u8; 16], purpose: [u8; 6], number: u32) -> u64 {
    // The input has 28 bytes. No other use of the key hashes this length.
    const INPUT: u8 = 28;
    let [a, b, c, d, e, f] = purpose;
    let start = SipHash13::new(*key).block(*b"portspoo").block([b'f', b' ', a, b, c, d, e, f]);
    start.block(*b"        ").finish(number.to_be_bytes(), INPUT)
}

#[cfg(test)]
mod tests;
