//! The options of `tcp-bounce probe`. A new option needs a field of [`ProbeArgs`] and its conversion in `into_config`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};

use super::usage::{USAGE_ERROR, WIDTH, has_flag, matches, usage_error, verdict_status};
use super::values::{duration, number, parse};
use crate::config::PortList;
use crate::output::{self, ErrorMessage};
use crate::probe::{self, Family, Format, ProbeConfig, ScanSettings};

const SELECTION: &str = "Selection";
const EXPECTATION: &str = "Expectation";
const SPEED: &str = "Speed";
const OUTPUT: &str = "Output";
const HELP: &str = "Help";

/// The end of `-h`.
const POINTER: &str = "Run `tcp-bounce probe --help` for details, values and examples.";

/// The end of `--help`.
const EXAMPLES: &str = "\
Examples:
  Probe all ports of a host:
    tcp-bounce probe 192.0.2.1
  Compare three ports of two hosts:
    tcp-bounce probe --ports 22,80,443 web1.example web2.example
  Check that exactly the ports of a policy are open:
    tcp-bounce probe --expect policy.toml 192.0.2.1
  Write the differences from a policy for a CI system:
    tcp-bounce probe --expect policy.toml --format junit 192.0.2.1 >probe.xml
  Probe all ports at 500 connections per second, and print JSON:
    tcp-bounce probe --rate 500 --format json 2001:db8::1

Exit status:
  0  the ports were probed, and are as --expect demands
  1  failed, for example because a name cannot be resolved
  2  usage error, or a mistake in the policy
  3  ports differ from the policy";

/// Find the open ports of hosts, and show their answers
///
/// The probe connects to each port, and waits for data. It needs no privileges. If a tcp-bounce with `--on-connect
/// identify` answers, the probe shows that, and the address that the far side saw.
///
/// Ports that do not answer are tried again. Each connection ends with RST, and the probe sends no data.
#[derive(Debug, Parser)]
#[command(name = "tcp-bounce-probe", bin_name = "tcp-bounce probe", max_term_width = WIDTH)]
#[command(override_usage = "tcp-bounce probe [OPTIONS] <HOST>...")]
#[command(after_help = POINTER, after_long_help = EXAMPLES, disable_help_flag = true)]
pub struct ProbeArgs {
    /// Hosts to probe, as names or addresses
    ///
    /// A name is resolved once, and its first address is probed.
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<String>,

    /// Probe only these ports [default: 1-65535]
    ///
    /// LIST is a comma-separated list of ports and ranges, such as 22,8000-8999. The option can be repeated.
    #[arg(short, long, value_name = "LIST", help_heading = SELECTION, allow_hyphen_values = true)]
    #[arg(value_parser = parse::<PortList>)]
    ports: Vec<PortList>,

    /// Probe the first IPv4 address of each name
    #[arg(short = '4', long, conflicts_with = "ipv6", help_heading = SELECTION)]
    ipv4: bool,

    /// Probe the first IPv6 address of each name
    #[arg(short = '6', long, help_heading = SELECTION)]
    ipv6: bool,

    /// Compare the open ports with the policy in FILE
    ///
    /// FILE is TOML. Each rule is a line `[[rule]]` with its keys below it, one per line: `ports = "22,80"`,
    /// `from = "203.0.113.0/24"`, `to = "192.0.2.1"`, `open = true`. With `open = true`, the ports must be open, and
    /// with `open = false`, they must not. The first rule that matches a port decides. Ports without a rule must not be
    /// open, unless `default_open = true` precedes the rules.
    #[arg(long, value_name = "FILE", help_heading = EXPECTATION)]
    expect: Option<PathBuf>,

    /// Compare the results with the far side's port report
    ///
    /// FILE is the report of `tcp-bounce --report FILE.json` on the host. For each port that is not open, the output
    /// says where the segments were lost. After the probe, the command waits until FILE is written again: tcp-bounce
    /// does so every minute, and when it ends.
    #[arg(long, value_name = "FILE", help_heading = EXPECTATION)]
    far: Option<PathBuf>,

    /// Check the tokens of the far side with the key in FILE
    ///
    /// FILE is the key file of `tcp-bounce --on-connect identify --key-file FILE` on the far side. An answer with a
    /// wrong token comes from an impostor, and --expect counts its port as closed.
    #[arg(long, value_name = "FILE", help_heading = EXPECTATION)]
    key_file: Option<PathBuf>,

    /// Connection attempts per second
    ///
    /// N is a number from 1 to 1000000, decimal or 0x hexadecimal. All hosts share the rate. A firewall on the path may
    /// keep an entry for each attempt: lower the rate if its table is small.
    #[arg(long, value_name = "N", help_heading = SPEED, allow_hyphen_values = true)]
    #[arg(value_parser = number(1..=1_000_000u32), default_value_t = ScanSettings::RATE)]
    rate: u32,

    /// Time to wait for a handshake, and then for data
    ///
    /// Servers that look up the client's name, such as mail servers, may send their banner after several seconds.
    #[arg(long, value_name = "TIME", help_heading = SPEED, allow_hyphen_values = true)]
    #[arg(value_parser = duration, default_value = "1s")]
    timeout: Duration,

    /// Retries at ports that do not answer [default: 2 to 12]
    ///
    /// N is a number from 0 to 100, decimal or 0x hexadecimal. Open ports that send no data are tried again, too,
    /// because the data may be lost. By default, there are two retries, and more if the path loses segments.
    #[arg(long, value_name = "N", help_heading = SPEED, allow_hyphen_values = true)]
    #[arg(value_parser = number(0..=100u32))]
    retries: Option<u32>,

    /// Format of the output
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t, help_heading = OUTPUT)]
    format: FormatName,

    /// Print help (-h prints a summary)
    #[arg(short, long, action = ArgAction::Help, help_heading = HELP)]
    help: Option<bool>,
}

/// A value of `--format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FormatName {
    /// A table with a row for each range of ports
    #[default]
    Text,
    /// A JSON object with each port
    Json,
    /// JUnit XML for CI systems: a test case for each range of ports
    Junit,
}

impl ProbeArgs {
    /// The name of the subcommand.
    pub const NAME: &str = "probe";

    /// Parses `arguments` and probes the hosts. The first two arguments are the names of the program and of the
    /// subcommand.
    ///
    /// Prints the report, errors or the help. Returns the exit status.
    pub fn run(arguments: &[OsString]) -> ExitCode {
        let arguments = arguments.get(1..).unwrap_or_default();
        match Self::parse(arguments) {
            Ok(args) => args.execute(),
            Err(error) if error.use_stderr() => {
                let message = usage_error(&error, arguments, "tcp-bounce probe");
                output::print_errors(wants_json(arguments), vec![message]);
                USAGE_ERROR.into()
            }
            // The help.
            Err(error) => error.exit(),
        }
    }

    fn parse(arguments: &[OsString]) -> Result<Self, clap::Error> {
        Self::from_arg_matches(&matches(Self::command(), arguments)?)
    }

    fn execute(self) -> ExitCode {
        let is_json = self.format == FormatName::Json;
        match probe::run(&self.into_config()) {
            Ok(is_as_expected) => verdict_status(is_as_expected),
            Err(error) => {
                output::print_errors(is_json, vec![ErrorMessage::new(&error, error.hint())]);
                if error.is_usage_error() { USAGE_ERROR.into() } else { ExitCode::FAILURE }
            }
        }
    }

    fn into_config(self) -> ProbeConfig {
        let ports = PortList::union(&self.ports).0;
        let ports = if self.ports.is_empty() { (1..=u16::MAX).collect() } else { ports.into_iter().collect() };
        let family = match (self.ipv4, self.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ => Family::Any,
        };
        let format = match self.format {
            FormatName::Text => Format::Text,
            FormatName::Json => Format::Json,
            FormatName::Junit => Format::Junit,
        };
        let scan =
            ScanSettings { rate: self.rate, timeout: self.timeout, retries: self.retries, ..ScanSettings::new(ports) };
        ProbeConfig {
            hosts: self.hosts,
            family,
            scan,
            format,
            policy: self.expect,
            far: self.far,
            key_file: self.key_file,
        }
    }
}

/// Returns whether the arguments select JSON, even if other arguments are invalid.
fn wants_json(arguments: &[OsString]) -> bool {
    let is_pair = |pair: &[OsString]| pair[0] == "--format" && pair[1] == "json";
    has_flag(arguments, "--format=json") || arguments.windows(2).any(is_pair)
}
