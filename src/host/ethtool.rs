//! What a driver tells of itself and its NIC, by the ioctl of `ethtool`.
//!
//! sysfs has some of it too, but for the network namespace in which it was mounted.

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;

use nix::errno::Errno;
use nix::libc::{self, ifreq};
use serde::Serialize;

/// `SIOCETHTOOL` of `linux/sockios.h`.
const SIOCETHTOOL: libc::Ioctl = 0x8946;

// The commands of `linux/ethtool.h`.
const GDRVINFO: u32 = 0x03;
const GSTRINGS: u32 = 0x1b;
const GSSET_INFO: u32 = 0x37;
const GFEATURES: u32 = 0x3a;
const GCHANNELS: u32 = 0x3c;

/// `ETH_SS_FEATURES`: the set of strings that are the names of the features.
const FEATURES: u32 = 4;

/// What a NIC can do instead of the kernel, like "rx-gro-hw".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// Whether it does.
    pub on: bool,
    /// Whether that cannot be changed.
    pub fixed: bool,
}

/// The queues of a NIC, as `ethtool -l` names them.
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
    /// Those that there can be.
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

/// The name of the driver.
pub fn driver(interface: &str) -> io::Result<String> {
    // struct ethtool_drvinfo: the command, and strings of 32 bytes of which the first is the name.
    let mut request = [0; 49];
    request[0] = GDRVINFO;
    ask(interface, &mut request)?;
    Ok(text(&request[1..9]))
}

/// The queues.
pub fn channels(interface: &str) -> io::Result<Channels> {
    // struct ethtool_channels
    let mut request = [GCHANNELS, 0, 0, 0, 0, 0, 0, 0, 0];
    ask(interface, &mut request)?;
    let [_, max_rx, max_tx, _, max_combined, rx, tx, _, combined] = request;
    Ok(Channels { rx, tx, combined, max_rx, max_tx, max_combined })
}

/// All features by their names.
pub fn features(interface: &str) -> io::Result<BTreeMap<String, Feature>> {
    let names = feature_names(interface)?;
    // struct ethtool_gfeatures: four words for each 32 features.
    let blocks = names.len().div_ceil(32);
    let mut request = vec![0; 2 + 4 * blocks];
    (request[0], request[1]) = (GFEATURES, blocks as u32);
    ask(interface, &mut request)?;

    let (blocks, _) = request[2..].as_chunks::<4>();
    let features = names.into_iter().enumerate().filter_map(|(index, name)| {
        let [available, _requested, active, never_changed] = blocks.get(index / 32)?;
        let is_in = |block: &u32| block >> (index % 32) & 1 != 0;
        Some((name, Feature { on: is_in(active), fixed: !is_in(available) || is_in(never_changed) }))
    });
    Ok(features.collect())
}

fn feature_names(interface: &str) -> io::Result<Vec<String>> {
    // struct ethtool_sset_info: the mask of the sets is 64 bits, and the lengths of those follow.
    let mut request = [0u32; 5];
    request[0] = GSSET_INFO;
    request[2..4].copy_from_slice(&words(1u64 << FEATURES));
    ask(interface, &mut request)?;
    let count = request[4];

    // struct ethtool_gstrings: 32 bytes for each. The number is that of the kernel, the same for all interfaces.
    let mut request = vec![0; 3 + 8 * count as usize];
    request[..3].copy_from_slice(&[GSTRINGS, FEATURES, count]);
    ask(interface, &mut request)?;
    Ok(request[3..].chunks(8).map(text).collect())
}

/// Sends `request`, which begins with a command and has room for its answer; which will stand there instead.
fn ask(interface: &str, request: &mut [u32]) -> io::Result<()> {
    let mut name = [0; libc::IFNAMSIZ];
    // The last byte stays zero.
    name.iter_mut().zip(interface.bytes().take(libc::IFNAMSIZ - 1)).for_each(|(to, from)| *to = from as c_char);
    let data = request.as_mut_ptr().cast();
    let mut ifreq = ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: data } };
    // Any socket will do; it stands for its network namespace.
    let socket = UnixDatagram::unbound()?;
    // SAFETY: The kernel writes no more than the answer, and each function above makes room for that.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut ifreq) };
    Errno::result(result)?;
    Ok(())
}

/// The halves of a number, in the order of the memory.
fn words(number: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = number.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

/// A string that ends with a zero byte, or with the words that it is in.
fn text(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
