//! The command-line options. A new option needs a field of [`Args`] and its conversion in `Args::into_config`.

use std::fmt::Display;
use std::net::IpAddr;
use std::num::ParseIntError;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use ipnet::IpNet;
use tcp_bounce_wire::ProgramSettings;

use crate::command;
use crate::config::{
    ActionChoice, AttachMode, Config, ConfigError, DestinationChoice, IsnChoice, MetricsAddress, Observe,
    OutputOptions, PortList, PortSelection, PostHandshake, ReportFile, ScopeConfig, SynAckConfig,
};
use crate::ui::{Message, output};

/// The output of `--version`: the version, the commit, the hash of the XDP program's object, and its build tools.
const LONG_VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), env!("TCP_BOUNCE_COMMIT"), "\nXDP program: ", env!("TCP_BOUNCE_OBJECT"));

/// Make every TCP port of a machine accept connections, with no sockets and no state.
///
/// An XDP program answers each SYN that arrives on IFACE with a SYN-ACK, and drops the ACK that completes the
/// handshake, and what follows; or, as --on-connect says, closes the connection, takes data, or holds the client. All else is
/// passed to the host, and so are the SYNs to ports that the host itself listens on. It ends with Ctrl-C, and then nothing
/// is attached any more.
#[derive(Debug, Parser)]
#[command(version, long_version = LONG_VERSION, after_help = "Each N may be decimal or hexadecimal (0x...).")]
pub struct Args {
    /// Where to attach the program
    #[arg(long, value_enum, default_value_t)]
    pub mode: Mode,

    /// What becomes of a connection after the handshake; with PORTS, like echo:7,8000-8999, on these ports; without, on
    /// every port that no other mode names. May be repeated.
    /// ignore: nothing more is answered. reset: it is reset. close: it is closed. discard: all data is taken, and thrown away.
    /// echo: all data is sent back. tarpit: it is held, and none of its data is taken [default: ignore]
    #[arg(long, value_name = "MODE[:PORTS]")]
    pub on_connect: Vec<ActionChoice>,

    /// Initial sequence number of every SYN-ACK, or `keyed`: a keyed hash of addresses and ports, so that a forged ACK
    /// is not taken for the end of a handshake [default: 0x74637062; with --on-connect echo or tarpit keyed, which they need]
    #[arg(long, value_name = "N|keyed", allow_negative_numbers = true, value_parser = isn)]
    pub isn: Option<IsnChoice>,

    /// Where the key of `--isn keyed` is, as 32 hexadecimal digits, for machines that share an address
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,

    /// Answer for these addresses instead of the interface's own, like 192.0.2.0/24, or `any`. They must be routed to this
    /// host: nobody answers ARP or neighbor discovery for them
    #[arg(long, value_name = "CIDR|any", value_parser = to)]
    pub dst: Vec<To>,

    /// Answer only these clients, like 2001:db8::/32; others are passed to the host
    #[arg(long, value_name = "CIDR", value_parser = prefix)]
    pub src: Vec<IpNet>,

    /// Answer only these ports, like 22,8000-8999; others are passed to the host
    #[arg(long, value_name = "LIST")]
    pub ports: Vec<PortList>,

    /// Ports of this host that are never answered but left to it, like 22,8000-8999
    #[arg(long, value_name = "LIST")]
    pub exclude_ports: Vec<PortList>,

    /// Answer also on ports that the host listens on, and drop all other TCP: the host's own connections are listed
    /// and cut, except those to the ports of --exclude-ports. Without --dst, answers for any address. What --dst, --src and --ports
    /// leave to the host stays with it
    #[arg(long)]
    pub takeover: bool,

    /// Time to live or hop limit of the SYN-ACK, in hops
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number(1..=u8::MAX), default_value_t = ProgramSettings::DEFAULT.ttl)]
    pub ttl: u8,

    /// Receive window that the SYN-ACK announces, in bytes; --on-connect echo and tarpit have their own [default: as many whole
    /// segments as are in 64 KiB]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number(0..=u16::MAX))]
    pub window: Option<u16>,

    /// Window scale that the SYN-ACK announces, if the SYN does; none with --on-connect echo
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number(0..=14u8), default_value_t = ProgramSettings::DEFAULT.window_scale)]
    pub wscale: u8,

    /// Maximum segment size that the SYN-ACK announces, in bytes; --on-connect echo has its own [default: the MTU less 40 for IPv4, 60 for IPv6]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = number(1..=u16::MAX))]
    pub mss: Option<u16>,

    /// Detach and end after this time, like 60s, 10m or 1h30m. A stopped process (Ctrl-Z) ends only when it is continued
    #[arg(long, value_name = "DURATION", allow_negative_numbers = true, value_parser = duration)]
    pub duration: Option<Duration>,

    /// Attach nothing, but tell whether tcp-bounce would start, how, and what stands in the way
    #[arg(long)]
    pub check: bool,

    /// Print a line for each thing that a client does: SYN, completed handshake, close. If nobody reads them fast enough, some are
    /// lost, and counted
    #[arg(long)]
    pub events: bool,

    /// Of the events, print one in N
    #[arg(long, value_name = "N", requires = "events", allow_negative_numbers = true, value_parser = number(1..=u32::MAX), default_value_t = 1, hide_default_value = true)]
    pub sample: u32,

    /// At the end, write to FILE what arrived at each port: SYNs, completed handshakes, when, from whom. As JSON if its name ends
    /// with .json, as CSV if with .csv
    #[arg(long, value_name = "FILE", conflicts_with = "sample")]
    pub report: Option<ReportFile>,

    /// Serve the counters for Prometheus, at /metrics on this address; on the loopback interface, if it is a port alone
    #[arg(long, value_name = "[ADDR:]PORT")]
    pub metrics_listen: Option<MetricsAddress>,

    /// Show on the whole terminal who knocks, as it happens: rates, verdicts, the busiest ports and clients, the newest events, and
    /// all ports as a heat map. q or Ctrl-C ends it
    #[arg(long, conflicts_with_all = ["json", "quiet", "events"])]
    pub tui: bool,

    /// Count by port and by client, and name those with the most at the end
    #[arg(long, conflicts_with = "quiet")]
    pub top_talkers: bool,

    /// Print one line of JSON per message; errors, too, on standard error
    #[arg(long)]
    pub json: bool,

    /// Say nothing but errors, and events if they are asked for; with --check, nothing but problems
    #[arg(long)]
    pub quiet: bool,

    /// The network interfaces to answer on
    #[arg(value_name = "IFACE", required = true)]
    pub interfaces: Vec<String>,
}

/// A value of `--mode`.
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

/// A value of `--dst`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Every address.
    Any,
    /// The addresses in this prefix.
    Prefix(IpNet),
}

impl Args {
    /// Runs the command, prints its error if it fails, and returns the exit status.
    pub fn execute(self) -> ExitCode {
        let (check, json) = (self.check, self.json);
        let result = self.into_config().map_err(Into::into).and_then(|(config, outputs)| {
            if check { command::check(&config, &outputs) } else { command::run(&config, &outputs).map(|()| true) }
        });
        match result {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                output::print_errors(json, vec![Message::from(&error)]);
                ExitCode::FAILURE
            }
        }
    }

    /// Converts the arguments to the configuration of a run, and its outputs.
    ///
    /// # Errors
    ///
    /// A setting is invalid or contradicts another one.
    fn into_config(self) -> Result<(Config, OutputOptions), ConfigError> {
        let ports = PortSelection::new(
            (!self.ports.is_empty()).then(|| PortList::union(&self.ports)),
            PortList::union(&self.exclude_ports),
        )?;
        let is_report = self.report.is_some();
        let config = Config {
            scope: ScopeConfig {
                destinations: destinations(&self.dst),
                sources: self.src,
                ports,
                takeover: self.takeover,
            },
            attach_mode: self.mode.into(),
            post_handshake: PostHandshake::new(&self.on_connect)?,
            syn_ack: SynAckConfig {
                isn: self.isn,
                key_file: self.key_file,
                ttl: self.ttl,
                window: self.window,
                window_scale: self.wscale,
                mss: self.mss,
            },
            observe: Observe {
                ports: self.top_talkers || is_report || self.tui,
                sources: self.top_talkers || self.tui,
                events: if self.events || is_report || self.tui { self.sample } else { 0 },
            },
            duration: self.duration,
            interfaces: self.interfaces,
        };
        config.validate()?;
        let outputs = OutputOptions {
            json: self.json,
            quiet: self.quiet,
            events: self.events,
            top: self.top_talkers,
            tui: self.tui,
            report: self.report,
            metrics: self.metrics_listen,
        };
        Ok((config, outputs))
    }
}

impl From<Mode> for Option<AttachMode> {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Auto => None,
            Mode::Native => Some(AttachMode::Native),
            Mode::Skb => Some(AttachMode::Skb),
            Mode::Hw => Some(AttachMode::Hw),
        }
    }
}

/// Returns the destinations that `--dst` selects. Without `--dst`, these are the interface's own addresses.
fn destinations(to: &[To]) -> DestinationChoice {
    let prefixes: Option<Vec<IpNet>> = to
        .iter()
        .map(|to| match to {
            To::Any => None,
            To::Prefix(prefix) => Some(*prefix),
        })
        .collect();
    match prefixes {
        None => DestinationChoice::Any,
        Some(prefixes) if !prefixes.is_empty() => DestinationChoice::Prefixes(prefixes),
        Some(_) => DestinationChoice::Own,
    }
}

/// Parses a value of `--isn`: `keyed`, or a 32-bit number.
fn isn(text: &str) -> Result<IsnChoice, String> {
    if text == "keyed" {
        return Ok(IsnChoice::Keyed);
    }
    let isn = number(0..=u32::MAX)(text).map_err(|error| format!("{error}, and not `keyed`"))?;
    Ok(IsnChoice::Fixed(isn))
}

/// Parses a value of `--dst`: `any`, or a prefix or address.
fn to(text: &str) -> Result<To, String> {
    if text == "any" {
        return Ok(To::Any);
    }
    prefix(text).map(To::Prefix).map_err(|error| format!("{error}, or `any`"))
}

/// Parses a prefix or a single address. Rejects IPv4-mapped IPv6 prefixes, which must be written as IPv4.
fn prefix(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let prefix = address.or_else(|_| text.parse::<IpNet>());
    if let Ok(IpNet::V6(v6)) = prefix
        && v6.addr().to_ipv4_mapped().is_some()
        && v6.prefix_len() >= 96
    {
        return Err("an IPv4 address in disguise: write it as IPv4".to_owned());
    }
    prefix
        .map_err(|_| "not one address or prefix, which look like 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32 (repeat the option for more)".to_owned())
}

/// Parses a duration above zero with its unit, such as `1h30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).ok().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "not a time above zero with its unit, like 60s, 10m or 1h30m".into())
}

/// Returns a parser of decimal or hexadecimal numbers in `range`.
fn number<N>(range: RangeInclusive<N>) -> impl Fn(&str) -> Result<N, String> + Clone + Send + Sync + 'static
where
    N: TryFrom<u64> + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let number: Result<u64, ParseIntError> = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        // The standard library accepts a plus sign, as in `+5` or `0x+5`.
        let number = number.ok().filter(|_| !text.contains('+'));
        let number = number.and_then(|number| N::try_from(number).ok());
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| format!("not a number from {} to {}, decimal or 0x hexadecimal", range.start(), range.end()))
    }
}
