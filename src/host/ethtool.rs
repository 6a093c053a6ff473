//! The driver, queues and features of a NIC, read with the ioctl that `ethtool` uses.
//!
//! The ioctl works in every network namespace. The alternative, sysfs, shows only the interfaces of the namespace in
//! which it was mounted.

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;

use nix::errno::Errno;
use nix::libc::{self, ifreq};
use serde::Serialize;

/// The ioctl request that carries every ethtool command (`linux/sockios.h`).
const SIOCETHTOOL: libc::Ioctl = 0x8946;

// The ethtool commands (`linux/ethtool.h`).
const GDRVINFO: u32 = 0x03;
const GSTRINGS: u32 = 0x1b;
const GSSET_INFO: u32 = 0x37;
const GFEATURES: u32 = 0x3a;
const GCHANNELS: u32 = 0x3c;

/// The id of the string set that holds the feature names (`linux/ethtool.h`).
const ETH_SS_FEATURES: u32 = 4;

/// The length of a string in a string set (`ETH_GSTRING_LEN`), in 32-bit words.
const STRING_WORDS: usize = 8;

/// The state of an offload feature, such as "rx-gro-hw". The JSON output uses the field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// Whether the feature is on.
    pub on: bool,
    /// Whether the feature cannot be switched on or off (`[fixed]` in `ethtool -k`).
    pub fixed: bool,
}

/// The numbers of queues of a NIC, current and maximum, with the names of `ethtool -l`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names are ethtool's")]
pub struct Channels {
    pub rx: u32,
    pub tx: u32,
    pub combined: u32,
    pub max_rx: u32,
    pub max_tx: u32,
    pub max_combined: u32,
}

impl Display for Feature {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "{}{}", if self.on { "on" } else { "off" }, if self.fixed { " (fixed)" } else { "" })
    }
}

impl Display for Channels {
    /// Writes the current and maximum number of each kind of queue that the NIC supports.
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let kinds = [
            ("rx", self.rx, self.max_rx),
            ("tx", self.tx, self.max_tx),
            ("combined", self.combined, self.max_combined),
        ];
        let kinds = kinds.into_iter().filter(|&(_, _, max)| max > 0);
        for (index, (kind, number, max)) in kinds.enumerate() {
            write!(f, "{}{number} of {max} {kind}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Returns the name of the driver of `interface`.
///
/// # Errors
///
/// The error of `ioctl(2)`: `EOPNOTSUPP` if the driver does not support the command.
pub fn driver(interface: &str) -> io::Result<String> {
    // struct ethtool_drvinfo (196 bytes): the command, strings and numbers. The first string is the name of the driver,
    // in 32 bytes.
    let mut request = [0; 49];
    request[0] = GDRVINFO;
    send(interface, &mut request)?;
    Ok(to_text(&request[1..9]))
}

/// Returns the numbers of queues of `interface`.
///
/// # Errors
///
/// The error of `ioctl(2)`: `EOPNOTSUPP` if the driver does not support the command.
pub fn channels(interface: &str) -> io::Result<Channels> {
    // struct ethtool_channels: the command, the maximum numbers and the current numbers. Each group has four numbers:
    // rx, tx, other and combined.
    let mut request = [GCHANNELS, 0, 0, 0, 0, 0, 0, 0, 0];
    send(interface, &mut request)?;
    let [_, max_rx, max_tx, _, max_combined, rx, tx, _, combined] = request;
    Ok(Channels { rx, tx, combined, max_rx, max_tx, max_combined })
}

/// Returns the offload features of `interface`, by name.
///
/// # Errors
///
/// The error of `ioctl(2)`.
pub fn features(interface: &str) -> io::Result<BTreeMap<String, Feature>> {
    let names = feature_names(interface)?;
    // struct ethtool_gfeatures: the command, the number of blocks, and the blocks. A block describes 32 features in
    // four 32-bit bitmaps.
    let blocks = names.len().div_ceil(32);
    let mut request = vec![0; 2 + 4 * blocks];
    (request[0], request[1]) = (GFEATURES, blocks as u32);
    send(interface, &mut request)?;

    let (blocks, _) = request[2..].as_chunks::<4>();
    let features = names.into_iter().enumerate().filter_map(|(index, name)| {
        let [available, _requested, active, never_changed] = blocks.get(index / 32)?;
        let has_bit = |bitmap: &u32| bitmap >> (index % 32) & 1 != 0;
        Some((name, Feature { on: has_bit(active), fixed: !has_bit(available) || has_bit(never_changed) }))
    });
    Ok(features.collect())
}

/// Returns the names of all features that the kernel knows, in the order of their bits.
fn feature_names(interface: &str) -> io::Result<Vec<String>> {
    // struct ethtool_sset_info: the command, a reserved word, a 64-bit mask of the requested sets, and their lengths.
    let mut request = [0u32; 5];
    request[0] = GSSET_INFO;
    request[2..4].copy_from_slice(&to_words(1u64 << ETH_SS_FEATURES));
    send(interface, &mut request)?;
    let count = request[4];

    // struct ethtool_gstrings: the command, the set, its length, and its strings. The kernel has one list of features
    // for all interfaces, so `count` is valid even if another interface has this name by now.
    let mut request = vec![0; 3 + STRING_WORDS * count as usize];
    request[..3].copy_from_slice(&[GSTRINGS, ETH_SS_FEATURES, count]);
    send(interface, &mut request)?;
    Ok(request[3..].chunks(STRING_WORDS).map(to_text).collect())
}

/// Sends an ethtool request to the driver of `interface`, and replaces `request` with the reply.
///
/// `request` begins with the command, in host byte order. It must have room for the whole reply.
fn send(interface: &str, request: &mut [u32]) -> io::Result<()> {
    let mut name = [0; libc::IFNAMSIZ];
    // The name stays null-terminated: its last byte is never written.
    name.iter_mut().zip(interface.bytes().take(libc::IFNAMSIZ - 1)).for_each(|(to, from)| *to = from as c_char);
    let data = request.as_mut_ptr().cast();
    let mut ifreq = ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: data } };
    // The ioctl accepts a socket of any type, and acts on the network namespace of the socket.
    let socket = UnixDatagram::unbound()?;
    // SAFETY: `ifreq` is initialized. Each caller makes room in `request` for the whole reply, so the kernel writes
    // within it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut ifreq) };
    Errno::result(result)?;
    Ok(())
}

/// Splits a 64-bit number into two words, in memory order.
fn to_words(number: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = number.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

/// Returns the string in `words`, up to its null byte. Invalid UTF-8 is replaced.
fn to_text(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
