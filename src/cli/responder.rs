//! The options of `tcp-bounce` without a subcommand. A new option needs a field of [`Args`] and its conversion in
//! `Args::into_config`.
//!
//! The doc comments of [`Args`] are the text of `--help`, the manual page, the shell completions and
//! `docs/reference/command-line.md`. The first paragraph is the text of `-h`, with at most 60 characters.

use std::ffi::{OsStr, OsString};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, ArgAction, ArgGroup, Command, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};

use super::usage::{USAGE_ERROR, WIDTH, has_flag, matches, usage_error, verdict_status};
use super::values::{duration, number, optional_duration, parse};
use crate::command;
use crate::config::{
    ActionChoice, AttachMode, BuiltIn, Config, ConfigError, DestinationChoice, DestinationList, IsnChoice,
    MetricsAddress, Observe, OutputOptions, Policy, PortList, PortPattern, PortSelection, PostHandshake, PrefixList,
    Profile, ProfileFormat, ReportFile, ScopeConfig, SynAckConfig, ValueError, isn,
};
use crate::output::{self, ErrorMessage};
use crate::ui::{UiError, profile_list};

/// The output of `--version`: the version, the commit, the hash of the XDP program's object, and its build tools.
const LONG_VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), env!("TCP_BOUNCE_COMMIT"), "\nXDP program: ", env!("TCP_BOUNCE_OBJECT"));

const SELECTION: &str = "Selection";
const BEHAVIOUR: &str = "Behaviour";
const OUTPUT: &str = "Output";
const SYN_ACK: &str = "SYN-ACK";
const DIAGNOSTICS: &str = "Diagnostics";

/// The end of `-h`.
const POINTER: &str = "Run `tcp-bounce --help` for details and examples, and `tcp-bounce probe -h` to probe ports.";

/// The end of `--help`.
const EXAMPLES: &str = "\
Examples:
  Answer on all TCP ports except those of local listeners:
    sudo tcp-bounce eth1
  Answer on two ports for a day, and write a port report:
    sudo tcp-bounce --ports 80,443 --duration 24h --report ports.csv eth1
  Hold clients of SSH and telnet, and close connections to other ports:
    sudo tcp-bounce --on-connect tarpit:22-23 --on-connect close eth1
  Look like a Linux server, with the banners and replies of its services:
    sudo tcp-bounce --profile linux-server eth1
  Print the events of clients in private networks as JSON:
    sudo tcp-bounce --events --json --src 10.0.0.0/8,192.168.0.0/16 eth1
  On another machine, without root: find the ports that are open on the way to this one:
    tcp-bounce probe 192.0.2.1

Exit status:
  0  ended by the user or by --duration; with --check, tcp-bounce would start
  1  failed to start or to run; with --check, tcp-bounce would not start
  2  usage error, or a mistake in the configuration such as an invalid key file
  3  ports differ from the policy of --expect

Documentation:
  man tcp-bounce
  /usr/share/doc/tcp-bounce/docs (Debian package)
  docs/ in the source tree, or `make docs` for a book in HTML";

/// Make every TCP port of a machine accept connections, with no sockets and no state
///
/// tcp-bounce attaches an XDP program to each interface. The program answers each SYN with a SYN-ACK. It drops the ACK
/// that completes the handshake and all later segments, unless --on-connect selects another action. With --profile, the
/// host looks like a server, a router or a printer.
///
/// The ports of local listeners are excluded, so the host's own services keep working. Press Ctrl-C to detach the
/// program.
#[derive(Debug, Parser)]
#[command(version, long_version = LONG_VERSION, max_term_width = WIDTH)]
#[command(override_usage = "tcp-bounce [OPTIONS] <IFACE>...")]
#[command(group(ArgGroup::new("event outputs").args(["events", "report", "tui"]).multiple(true)))]
#[command(after_help = POINTER, after_long_help = EXAMPLES, disable_help_flag = true, disable_version_flag = true)]
pub struct Args {
    /// Network interfaces to answer on
    ///
    /// Alternative names (`altname` in `ip link`) are accepted. An interface that is called probe follows `--`, as in
    /// `tcp-bounce -- probe`.
    #[arg(value_name = "IFACE", required = true)]
    pub interfaces: Vec<String>,

    /// Answer only on these ports
    ///
    /// LIST is a comma-separated list of ports and ranges, such as 22,8000-8999. The host receives the segments to all
    /// other ports. The option can be repeated.
    ///
    /// In LIST, random:20 stands for 20 further ports, and share:3% for 3% of all ports. They differ for each run. With
    /// `--isn keyed`, the key of --key-file selects them, so that each run has the same ports.
    #[arg(short, long, value_name = "LIST", help_heading = SELECTION, allow_hyphen_values = true)]
    #[arg(value_parser = parse::<PortPattern>)]
    pub ports: Vec<PortPattern>,

    /// Never answer on these ports
    ///
    /// LIST is a comma-separated list of ports and ranges, such as 22,8000-8999. The host receives the segments to
    /// these ports, even with --takeover. The option can be repeated.
    ///
    /// Without --takeover, local listeners are always excluded.
    #[arg(long, value_name = "LIST", help_heading = SELECTION, allow_hyphen_values = true)]
    #[arg(value_parser = parse::<PortList>)]
    pub exclude_ports: Vec<PortList>,

    /// Exclude the port of a closed listener for this time
    ///
    /// The host refuses connections while a service restarts, and health checks see that the service is down. With 0,
    /// tcp-bounce answers as soon as the listener is closed. The option has no effect with --takeover.
    #[arg(long, value_name = "TIME", help_heading = SELECTION, allow_hyphen_values = true)]
    #[arg(value_parser = optional_duration, default_value = "10s")]
    pub listener_grace: Duration,

    /// Answer for these addresses [default: the interface's own]
    ///
    /// CIDR is a comma-separated list of addresses and prefixes, such as 192.0.2.1,2001:db8::/32. The option can be
    /// repeated.
    ///
    /// If the host does not have an address, the network must route it to the host: tcp-bounce answers neither ARP nor
    /// neighbor discovery. Multicast, broadcast and loopback addresses are never answered. By default and with local,
    /// frames with VLAN tags that the host does not have are not answered.
    ///
    /// Two words select addresses without a list:
    #[arg(long, value_name = "CIDR|local|any", help_heading = SELECTION, allow_hyphen_values = true)]
    #[arg(value_parser = WordsParser::<DestinationList, Dst>::new())]
    pub dst: Vec<DestinationList>,

    /// Answer only clients with these addresses
    ///
    /// CIDR is a comma-separated list of addresses and prefixes, such as 10.0.0.0/8,2001:db8::/32. The host receives
    /// the segments of all other clients. The option can be repeated.
    #[arg(long, value_name = "CIDR", help_heading = SELECTION, allow_hyphen_values = true)]
    #[arg(value_parser = parse::<PrefixList>)]
    pub src: Vec<PrefixList>,

    /// Answer on listeners' ports too, and drop all other TCP
    ///
    /// This breaks the host's own TCP connections on the answered addresses, including SSH sessions. tcp-bounce lists
    /// these connections when it starts, and so does --check. The host still receives the segments that --ports,
    /// --exclude-ports, --dst or --src leave out.
    #[arg(long, help_heading = SELECTION)]
    pub takeover: bool,

    /// Where to attach: auto, native, skb or hw
    ///
    /// --check prints the mode that auto would select.
    #[arg(short, long, value_enum, default_value_t, help_heading = BEHAVIOUR)]
    pub mode: Mode,

    /// Action after the handshake, such as close or echo:7
    ///
    /// Without PORTS, the action applies to all ports that no other action lists. The default is ignore. The option can
    /// be repeated: `--on-connect tarpit:22-23 --on-connect close`.
    ///
    /// Echo, tarpit and identify require `--isn keyed`, and select it by default.
    #[arg(long, value_name = "ACTION[:PORTS]", help_heading = BEHAVIOUR, allow_hyphen_values = true)]
    #[arg(value_parser = WordsParser::<ActionChoice, OnConnect>::new())]
    pub on_connect: Vec<ActionChoice>,

    /// Answer like a server, as in --profile linux-server
    ///
    /// A profile lists services: their ports, and the payloads that they send. The host receives the segments to all
    /// other ports. --ports and --exclude-ports leave out ports of the profile.
    ///
    /// A profile implies `--isn keyed`. The key also selects ports for a service with random:20 or share:3%. Without
    /// --key-file, they differ for each run.
    ///
    /// FILE is a profile in TOML. Its name contains a slash, ends with .toml or .conf, or differs from all NAMEs. To
    /// write one, edit the output of --show-profile. NAME is a built-in profile:
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "on_connect", help_heading = BEHAVIOUR)]
    #[arg(value_parser = WordsParser::<ProfileName, BuiltIn>::new())]
    pub profile: Option<ProfileName>,

    /// Format of FILE, such as portspoof
    ///
    /// The formats of portspoof contain regular expressions, which tcp-bounce expands to banners. The key of --key-file
    /// selects the expansions, so that each run has the same banners. With a format other than toml, the value of
    /// --profile is always a file.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t, requires = "profile", help_heading = BEHAVIOUR)]
    pub profile_format: Format,

    /// Detach and exit after this time, such as 60s or 1h30m
    ///
    /// If the process is suspended (Ctrl-Z), it exits only when it is resumed.
    #[arg(short, long, value_name = "TIME", help_heading = BEHAVIOUR, allow_hyphen_values = true)]
    #[arg(value_parser = duration)]
    pub duration: Option<Duration>,

    /// Print a line for each client event
    ///
    /// The events are syn (a SYN was answered), completed (a handshake was completed), disconnected (the client sent
    /// FIN or RST) and, with --payload, data. Events are dropped and counted if the reader of the output is too slow.
    #[arg(short, long, help_heading = OUTPUT)]
    pub events: bool,

    /// Print one in N events
    ///
    /// Reduces the output and the load. Requires --events.
    #[arg(long, value_name = "N", requires = "events", help_heading = OUTPUT, allow_hyphen_values = true)]
    #[arg(value_parser = number(1..=u32::MAX), default_value_t = 1)]
    pub sample: u32,

    /// Report the first N bytes that each client sends
    ///
    /// The first data of a connection causes an event called data. N is at most 1024. In text, the bytes are escaped,
    /// and in JSON, they are in Base64. The report lists up to four different payloads for each port. Requires
    /// --events, --report or --tui.
    #[arg(long, value_name = "N", help_heading = OUTPUT, allow_hyphen_values = true)]
    #[arg(value_parser = number(1..=Observe::MAX_DATA), requires = "event outputs")]
    pub payload: Option<u32>,

    /// Write a per-port report to FILE (.json, .csv or .xml)
    ///
    /// For each port, the report contains the number of SYNs and of completed handshakes, the times of the first and
    /// last event, and up to 16 client addresses. The extension of FILE selects the format. With .xml, FILE is JUnit
    /// XML with the comparison of --expect. The report is rewritten every minute and on exit.
    #[arg(short = 'o', long, value_name = "FILE", conflicts_with = "sample", help_heading = OUTPUT)]
    #[arg(value_parser = parse::<ReportFile>)]
    pub report: Option<ReportFile>,

    /// Compare the port report with the policy in FILE
    ///
    /// FILE is a policy in TOML, as for `tcp-bounce probe --expect`. A port is open for a client that completes a
    /// handshake. On exit, tcp-bounce prints the ports, beginning with those that differ from the policy. The exit
    /// status is 3 if a port differs. Requires --report.
    ///
    /// `from` is compared with the addresses of the clients, and `to` with those that they connect to. Rules for
    /// clients outside --src, and for addresses that tcp-bounce does not answer for, are left out.
    #[arg(long, value_name = "FILE", requires = "report", help_heading = OUTPUT)]
    pub expect: Option<PathBuf>,

    /// List the busiest ports and clients on exit
    #[arg(long, conflicts_with = "quiet", help_heading = OUTPUT)]
    pub top_talkers: bool,

    /// Show a live dashboard on the terminal
    ///
    /// The dashboard shows rates, counters, the busiest ports and clients, the latest events, and a heat map of all
    /// ports. Press q or Ctrl-C to exit.
    #[arg(long, conflicts_with_all = ["json", "quiet", "events"], help_heading = OUTPUT)]
    pub tui: bool,

    /// Serve Prometheus metrics at http://ADDR:PORT/metrics
    ///
    /// `9464` listens on 127.0.0.1:9464. `:9464` listens on every IPv4 and IPv6 address. `192.0.2.1:9464` and
    /// `[::1]:9464` listen on one address.
    #[arg(long, value_name = "ADDR:PORT", help_heading = OUTPUT, allow_hyphen_values = true)]
    #[arg(value_parser = parse::<MetricsAddress>)]
    pub metrics_listen: Option<MetricsAddress>,

    /// Print JSON: one object per line
    ///
    /// Errors, including usage errors, go to standard error. `docs/output.schema.json` describes the objects.
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,

    /// Print only errors, and events with --events
    ///
    /// With --check, prints only errors.
    #[arg(short, long, help_heading = OUTPUT)]
    pub quiet: bool,

    /// Initial sequence number of SYN-ACKs [default: 0x74637062]
    ///
    /// N is a number, decimal or 0x hexadecimal, that all SYN-ACKs share. A shared number lets anyone complete
    /// handshakes from spoofed addresses. The word keyed selects a keyed hash of the addresses and ports instead. With
    /// --profile, and if --on-connect selects echo, tarpit or identify, the default is keyed. With close or discard, a
    /// client without window scaling gets a number that is larger by 0x40000000.
    #[arg(long, value_name = "N|keyed", help_heading = SYN_ACK, allow_hyphen_values = true)]
    #[arg(value_parser = parse::<IsnChoice>)]
    pub isn: Option<IsnChoice>,

    /// File with the key for `--isn keyed` [default: a random key]
    ///
    /// The file contains 32 hexadecimal digits. To create it, run `(umask 077; openssl rand -hex 16 >FILE)`. Hosts that
    /// share an address must use the same key.
    #[arg(long, value_name = "FILE", help_heading = SYN_ACK)]
    pub key_file: Option<PathBuf>,

    /// Time to live or hop limit [default: the kernel's]
    ///
    /// N is a number from 1 to 255, decimal or 0x hexadecimal. The default is net.ipv4.ip_default_ttl for IPv4, and
    /// net.ipv6.conf.IFACE.hop_limit for IPv6.
    #[arg(long, value_name = "N", help_heading = SYN_ACK, allow_hyphen_values = true)]
    #[arg(value_parser = number(1..=u8::MAX))]
    pub ttl: Option<u8>,

    /// Advertised window in bytes [default: a listener's]
    ///
    /// N is a number from 0 to 65535, decimal or 0x hexadecimal. By default, the kernel's net.ipv4.tcp_rmem determines
    /// the window: as many whole segments as fit in half of the initial buffer. Ports with echo ignore this option.
    #[arg(long, value_name = "N", help_heading = SYN_ACK, allow_hyphen_values = true)]
    #[arg(value_parser = number(0..=u16::MAX))]
    pub window: Option<u16>,

    /// Window scale, if the SYN has one [default: a listener's]
    ///
    /// N is a number from 0 to 14, decimal or 0x hexadecimal. By default, the kernel's net.ipv4.tcp_rmem and
    /// net.core.rmem_max determine the window scale. On ports with echo, SYN-ACKs have no window scale.
    #[arg(long, value_name = "N", help_heading = SYN_ACK, allow_hyphen_values = true)]
    #[arg(value_parser = number(0..=14u8))]
    pub wscale: Option<u8>,

    /// Advertised maximum segment size [default: from the MTU]
    ///
    /// N is a number of bytes from 1 to 65535, decimal or 0x hexadecimal. The default is the MTU minus 40 for IPv4, and
    /// minus 60 for IPv6, where net.ipv6.conf.IFACE.mtu is the MTU. Ports with echo ignore this option.
    #[arg(long, value_name = "N", help_heading = SYN_ACK, allow_hyphen_values = true)]
    #[arg(value_parser = number(1..=u16::MAX))]
    pub mss: Option<u16>,

    /// Check whether tcp-bounce would start, without attaching
    ///
    /// Prints the mode, facts about each interface, and errors and warnings with hints. The kernel verifies the
    /// program. The exit status is 1 if tcp-bounce would not start.
    #[arg(long, help_heading = DIAGNOSTICS)]
    pub check: bool,

    /// List the built-in profiles, and exit
    #[arg(long, exclusive = true, help_heading = DIAGNOSTICS)]
    pub list_profiles: bool,

    /// Print a built-in profile in TOML, and exit
    ///
    /// The output is a start for a profile of your own: `tcp-bounce --show-profile printer >my.toml`.
    #[arg(long, value_name = "NAME", exclusive = true, value_enum, hide_possible_values = true)]
    #[arg(help_heading = DIAGNOSTICS)]
    pub show_profile: Option<BuiltIn>,

    /// Print help (-h prints a summary)
    #[arg(short, long, action = ArgAction::Help, help_heading = DIAGNOSTICS)]
    help: Option<bool>,

    /// Print version details (-V prints only the version)
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = DIAGNOSTICS)]
    version: Option<bool>,
}

/// A value of `--mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Native mode where the driver supports it, skb mode elsewhere
    #[default]
    Auto,
    /// In the driver, before the kernel allocates a packet buffer
    Native,
    /// In the kernel's generic path, which works with every driver but is slower
    Skb,
    /// In the NIC (hardware offload)
    Hw,
}

/// A value of `--profile-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A profile of tcp-bounce
    #[default]
    Toml,
    /// The configuration of portspoof, with lines such as `80 "payload"`
    Portspoof,
    /// The signatures of portspoof, with a regular expression in each line
    PortspoofSignatures,
}

/// An action of `--on-connect`. The names are those that [`ActionChoice`] parses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnConnect {
    /// Drop all segments and reply to none
    Ignore,
    /// Reset the connection
    Reset,
    /// Close the connection
    Close,
    /// Acknowledge all data and discard it
    Discard,
    /// Send all data back
    Echo,
    /// Hold the connection open, and accept no data
    Tarpit,
    /// Send both ends of the connection and a token, over HTTP, and close
    Identify,
    /// Like identify, as an object in JSON
    #[value(name = "identify=json")]
    IdentifyJson,
}

/// A word of `--dst`. The names are those that [`DestinationList`] parses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dst {
    /// All addresses of this host, including those on lo, except 127.0.0.0/8 and ::1
    Local,
    /// All addresses, including those of other hosts
    Any,
}

/// A value of `--profile`.
#[derive(Clone, Debug)]
pub struct ProfileName(String);

impl FromStr for ProfileName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Ok(Self(text.to_owned()))
    }
}

impl ValueEnum for BuiltIn {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name).help(self.description()))
    }
}

/// Parses a value of the type `T`, and lists the words in it for the help and the completions.
#[derive(Clone)]
struct WordsParser<T, Words>(PhantomData<fn() -> (T, Words)>);

impl<T, Words> WordsParser<T, Words> {
    fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T, Words> TypedValueParser for WordsParser<T, Words>
where
    T: FromStr<Err = ValueError> + Clone + Send + Sync + 'static,
    Words: ValueEnum + 'static,
{
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        parse::<T>.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Words::value_variants().iter().filter_map(ValueEnum::to_possible_value)))
    }
}

/// Parses `arguments` and runs the command. The first argument is the name of the program.
///
/// Prints errors, the help or the version. Returns the exit status.
pub fn run(arguments: &[OsString]) -> ExitCode {
    match Args::parse(arguments) {
        Ok(args) => args.execute(),
        Err(error) if error.use_stderr() => {
            let message = usage_error(&error, arguments, "tcp-bounce");
            output::print_errors(has_flag(arguments, "--json"), vec![message]);
            USAGE_ERROR.into()
        }
        // The help or the version.
        Err(error) => error.exit(),
    }
}

impl Args {
    fn parse(arguments: &[OsString]) -> Result<Self, clap::Error> {
        Self::from_arg_matches(&matches(Self::command(), arguments)?)
    }

    /// Runs the command, prints its error if it fails, and returns the exit status.
    fn execute(self) -> ExitCode {
        let (check, json) = (self.check, self.json);
        let status_of_check = |starts| if starts { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        let result = match self.profile_text() {
            Some(text) => {
                output::print_text(&text).map(|()| ExitCode::SUCCESS).map_err(|error| UiError::Write(error).into())
            }
            None => self.into_config().map_err(Into::into).and_then(|(config, outputs)| match check {
                true => command::check(&config, &outputs).map(status_of_check),
                false => command::run(&config, &outputs).map(verdict_status),
            }),
        };
        match result {
            Ok(status) => status,
            Err(error) => {
                output::print_errors(json, vec![ErrorMessage::from(&error)]);
                if error.is_usage_error() { USAGE_ERROR.into() } else { ExitCode::FAILURE }
            }
        }
    }

    /// Returns the output of `--list-profiles` or `--show-profile`.
    fn profile_text(&self) -> Option<String> {
        if self.list_profiles {
            Some(profile_list::table())
        } else {
            self.show_profile.map(|profile| profile.text.to_owned())
        }
    }

    /// Returns the key in the file of `--key-file`, or a random key, if the ports or the profile depend on it. `None`
    /// leaves the choice of the key to the run.
    fn early_key(&self) -> Result<Option<[u8; 16]>, ConfigError> {
        let selects_ports = PortPattern::union(&self.ports).selected() > 0;
        let expands_payloads = self.profile.is_some() && self.profile_format != Format::Toml;
        (selects_ports || expands_payloads).then(|| isn::key(self.key_file.as_deref())).transpose()
    }

    /// Returns the ports of `--ports` and `--exclude-ports`. The key selects the ports that `--ports` does not list.
    fn port_selection(&self, key: &[u8; 16]) -> Result<PortSelection, ConfigError> {
        let excluded = PortList::union(&self.exclude_ports);
        let pattern = PortPattern::union(&self.ports);
        let only = (!self.ports.is_empty()).then(|| pattern.resolve(key, &excluded)).transpose()?;
        PortSelection::new(only, excluded)
    }

    /// Converts the arguments to the configuration of a run, and its outputs.
    ///
    /// # Errors
    ///
    /// A setting is invalid or contradicts another one.
    fn into_config(self) -> Result<(Config, OutputOptions), ConfigError> {
        let early_key = self.early_key()?;
        // Nothing depends on the key if it is not read here.
        let key = early_key.unwrap_or_default();
        let ports = self.port_selection(&key)?;
        let format = self.profile_format.into();
        let is_report = self.report.is_some();
        let has_events = self.events || is_report || self.tui;
        let config = Config {
            scope: ScopeConfig {
                destinations: DestinationChoice::new(&self.dst)?,
                sources: PrefixList::union(&self.src),
                ports,
                takeover: self.takeover,
                listener_grace: self.listener_grace,
            },
            attach_mode: self.mode.into(),
            post_handshake: PostHandshake::new(&self.on_connect)?,
            profile: self.profile.map(|name| Profile::load(&name.0, format, &key)).transpose()?,
            syn_ack: SynAckConfig {
                isn: self.isn,
                key_file: self.key_file,
                key: early_key,
                ttl: self.ttl,
                window: self.window,
                window_scale: self.wscale,
                mss: self.mss,
            },
            observe: Observe {
                ports: self.top_talkers || is_report || self.tui,
                sources: self.top_talkers || self.tui,
                events: if has_events { self.sample } else { 0 },
                data: self.payload.unwrap_or(0),
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
            policy: self.expect.as_deref().map(Policy::load).transpose()?,
            metrics: self.metrics_listen,
        };
        outputs.validate(&config.scope.ports)?;
        Ok((config, outputs))
    }
}

impl From<Format> for ProfileFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Toml => Self::Toml,
            Format::Portspoof => Self::Portspoof,
            Format::PortspoofSignatures => Self::PortspoofSignatures,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names<Words: ValueEnum>() -> Vec<String> {
        let values = Words::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        values.map(|value| value.get_name().to_owned()).collect()
    }

    #[test]
    fn every_word_of_the_help_parses() {
        names::<OnConnect>().iter().for_each(|name| drop(name.parse::<ActionChoice>().unwrap()));
        names::<Dst>().iter().for_each(|name| drop(name.parse::<DestinationList>().unwrap()));
        // `identify` has two formats.
        assert_eq!(OnConnect::value_variants().len(), tcp_bounce_wire::Action::ALL.len() + 2);
    }

    /// Returns the message and the hint for `arguments`, which clap refuses.
    fn refusal(arguments: &[&str]) -> (String, Option<String>) {
        let arguments: Vec<OsString> = ["tcp-bounce"].iter().chain(arguments).map(OsString::from).collect();
        let ErrorMessage { message, hint, .. } =
            usage_error(&Args::parse(&arguments).unwrap_err(), &arguments, "tcp-bounce");
        (message, hint)
    }

    #[test]
    fn an_interface_is_not_taken_for_a_profile() {
        for (arguments, message, hint) in [
            (
                &["--check", "--profile", "eth1"] as &[_],
                "no interface given: eth1 is the value of --profile",
                "name a profile before it, as in `tcp-bounce --profile linux-server eth1`",
            ),
            (
                &["--profile=eth1"],
                "no interface given: eth1 is the value of --profile",
                "name a profile before it, as in `tcp-bounce --profile linux-server eth1`",
            ),
            // A file in the directory of the package, where tests run.
            (
                &["--profile", "Makefile"],
                "no interface given",
                "add one, as in `tcp-bounce eth1`; `tcp-bounce -h` lists the options",
            ),
            (
                &["--profile", "router"],
                "no interface given",
                "add one, as in `tcp-bounce eth1`; `tcp-bounce -h` lists the options",
            ),
        ] {
            assert_eq!(refusal(arguments), (message.to_owned(), Some(hint.to_owned())), "{arguments:?}");
        }
    }

    #[test]
    fn usage_errors_have_hints() {
        for (arguments, message, hint) in [
            (
                &["--ttl", "0", "eth1"] as &[_],
                "invalid value '0' for '--ttl <N>': not a number from 1 to 255 (decimal or 0x hexadecimal)",
                None,
            ),
            (
                &["--mode", "fast", "eth1"],
                "invalid value 'fast' for '--mode <MODE>'",
                Some("possible values: auto, native, skb, hw"),
            ),
            (&[], "no interface given", Some("add one, as in `tcp-bounce eth1`; `tcp-bounce -h` lists the options")),
            (&["--sample", "9", "eth1"], "--sample requires --events", Some("add --events")),
            (
                &["--ttl", "\n\nx", "eth1"],
                "invalid value ' x' for '--ttl <N>': not a number from 1 to 255 (decimal or 0x hexadecimal)",
                None,
            ),
            (
                &["--ttl"],
                "a value is required for '--ttl <N>' but none was supplied",
                Some("run `tcp-bounce --help` to list the values"),
            ),
            (
                &["--colour", "eth1"],
                "unexpected argument '--colour' found",
                Some("run `tcp-bounce -h` to list the options"),
            ),
            (
                &["--ttl", "1", "--ttl", "2", "eth1"],
                "the argument '--ttl <N>' cannot be used multiple times",
                Some("give the option only once"),
            ),
            (
                &["--tui", "--json", "eth1"],
                "the argument '--tui' cannot be used with '--json'",
                Some("remove one of these options"),
            ),
        ] {
            assert_eq!(refusal(arguments), (message.to_owned(), hint.map(str::to_owned)), "{arguments:?}");
        }
        let (message, hint) = refusal(&["--port", "80", "eth1"]);
        assert_eq!(message, "unexpected argument '--port' found");
        assert_eq!(hint.as_deref(), Some("a similar argument exists: '--ports'"));
    }
}
