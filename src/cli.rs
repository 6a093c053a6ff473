//! The command line.

use std::fmt::Display;
use std::num::ParseIntError;
use std::ops::RangeInclusive;

use clap::{Parser, ValueEnum};
use tcp_bounce_wire::Settings;

use crate::ports::PortList;

/// Make every TCP port of a machine accept connections, with no sockets and no state.
///
/// An XDP program answers each SYN that arrives on IFACE with a SYN-ACK, and drops the ACK that completes the
/// handshake. All else is passed to the host, and so are the SYNs to ports that the host itself listens on. It ends
/// with Ctrl-C, and then nothing is attached any more.
#[derive(Debug, Parser)]
#[command(version, after_help = "Each N may be decimal or hexadecimal (0x...).")]
pub struct Cli {
    /// Where to attach the program
    #[arg(long, value_enum, default_value_t)]
    pub mode: Mode,

    /// Initial sequence number of every SYN-ACK
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number(0..=u32::MAX), default_value = DEFAULT_ISN)]
    pub isn: u32,

    /// Ports of this host that are never answered but left to it, like 22,8000-8999
    #[arg(long, value_name = "LIST")]
    pub except: Vec<PortList>,

    /// Answer also on ports that the host listens on, and drop all other TCP: the host's own connections are cut, but
    /// for those to the ports of --except
    #[arg(long)]
    pub takeover: bool,

    /// Time to live of the SYN-ACK, in hops
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number(1..=u8::MAX), default_value_t = Settings::DEFAULT.ttl)]
    pub ttl: u8,

    /// Receive window that the SYN-ACK announces, in bytes
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number(0..=u16::MAX), default_value_t = Settings::DEFAULT.window)]
    pub window: u16,

    /// Maximum segment size that the SYN-ACK announces, in bytes
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number(1..=u16::MAX), default_value_t = Settings::DEFAULT.mss)]
    pub mss: u16,

    /// Say nothing but errors
    #[arg(long)]
    pub quiet: bool,

    /// The network interfaces to answer on
    #[arg(value_name = "IFACE", required = true)]
    pub interfaces: Vec<String>,
}

/// [`Settings::DEFAULT`] has the same, but would be shown in decimal.
const DEFAULT_ISN: &str = "0x74637062";

/// How to attach, as asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Native where it works, else skb
    #[default]
    Auto,
    /// In the driver
    Native,
    /// In the kernel's generic path: works with every driver, but slower
    Skb,
    /// In the NIC
    Hw,
}

/// A parser of decimal or hexadecimal numbers in `range`.
fn number<N>(range: RangeInclusive<N>) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: TryFrom<u64> + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let number: Result<u64, ParseIntError> = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        // `+5` would be one for the standard library.
        let number = number.ok().filter(|_| !text.contains('+'));
        let number = number.and_then(|number| N::try_from(number).ok());
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| format!("not a number from {} to {}, decimal or 0x hexadecimal", range.start(), range.end()))
    }
}
