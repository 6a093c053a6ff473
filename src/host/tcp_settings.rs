//! The sysctls of Linux that shape the replies of a listener.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::str::FromStr;
use std::{array, fs};

use tcp_bounce_wire::siphash::SipHash13;
use tcp_bounce_wire::{Isn, ReplySettings, ReplyStyle};

use super::{clock, kernel};

/// The directory with the network sysctls of the calling thread's network namespace.
pub const SYSCTLS: &str = "/proc/sys/net";

/// The largest window scale (RFC 7323, 2.3).
const LARGEST_SCALE: u32 = 14;
/// The largest window of a host that supports clients with signed windows, in bytes (`MAX_TCP_WINDOW`).
const LARGEST_SIGNED_WINDOW: u32 = 32_767;
/// The value of `tcp_timestamps` with which TSvals are the milliseconds since the host booted.
const TIMESTAMPS_WITHOUT_OFFSET: u8 = 2;
/// The first kernel version that ignores `tcp_adv_win_scale`, and reserves half of a new buffer for data.
const IGNORES_WINDOW_DIVISOR: (u32, u32) = (6, 6);

/// The sysctls that shape the replies on all interfaces. A sysctl that this kernel lacks has Linux's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSettings {
    /// `net.ipv4.ip_default_ttl`: the time to live over IPv4, in hops.
    pub ip_default_ttl: u8,
    /// `net.ipv4.tcp_timestamps`: 0 for none, 1 with a random offset, 2 without an offset.
    pub tcp_timestamps: u8,
    /// `net.ipv4.tcp_sack`: whether selective acknowledgments are accepted.
    pub tcp_sack: bool,
    /// `net.ipv4.tcp_window_scaling`: whether window scaling is accepted.
    pub tcp_window_scaling: bool,
    /// `net.ipv4.tcp_rmem`: the minimum, initial and maximum size of a receive buffer, in bytes.
    pub tcp_rmem: [u32; 3],
    /// `net.core.rmem_max`: the largest receive buffer that a program may choose, in bytes.
    pub rmem_max: u32,
    /// `net.ipv4.tcp_adv_win_scale`: the share of a receive buffer that is reserved for data. `None` if this kernel
    /// ignores it.
    pub tcp_adv_win_scale: Option<i8>,
    /// `net.ipv4.tcp_workaround_signed_windows`: whether windows are at most 32,767 bytes.
    pub tcp_workaround_signed_windows: bool,
    /// `net.ipv4.tcp_ecn`: 0 for no ECN; 1 and 2 accept ECN, and 3 to 5 accurate ECN, too.
    pub tcp_ecn: u8,
    /// `net.ipv6.auto_flowlabels`: 1 and 3 for flow labels, 0 and 2 for none.
    pub auto_flowlabels: u8,
    /// `net.ipv6.flowlabel_state_ranges`: whether bit 19 marks labels without state.
    pub flowlabel_state_ranges: bool,
    /// `net.ipv6.flowlabel_reflect`: bit 0 is set if established connections reflect the client's label.
    pub flowlabel_reflect: u8,
}

/// Numbers that make replies unpredictable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunSecrets {
    /// The number that flow labels depend on.
    pub seed: u64,
    /// The offset of TSvals from the kernel's clock, in milliseconds.
    pub timestamp_offset: u32,
}

/// The sysctls that shape the replies over IPv6 on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Settings {
    /// `net.ipv6.conf.IFACE.hop_limit`: the hop limit.
    pub hop_limit: u8,
    /// `net.ipv6.conf.IFACE.mtu`: the MTU over IPv6 in bytes. `None` if IPv6 is disabled.
    pub mtu: Option<u32>,
}

impl RunSecrets {
    /// Generates the numbers of a run: the seed from the key of the ISN, if there is one, and the others at random.
    /// Without a source of randomness, random numbers are zero.
    ///
    /// With the seed from the key, a connection keeps its flow label when another run with the same key answers.
    pub fn generate(isn: Isn) -> Self {
        let (mut seed, mut offset) = ([0; 8], [0; 4]);
        // The start of the run fails on its own if it needs a key and there is no randomness.
        let _ = getrandom::fill(&mut seed).and_then(|()| getrandom::fill(&mut offset));
        let seed = match isn {
            // No input of an ISN is as long as this text.
            Isn::Keyed(key) => SipHash13::new(key).block(*b"tcp-boun").block(*b"ce flow ").finish(*b"seed", 20),
            Isn::Fixed(_) => u64::from_ne_bytes(seed),
        };
        Self { seed, timestamp_offset: u32::from_ne_bytes(offset) }
    }
}

impl TcpSettings {
    /// The defaults of Linux. `tcp_rmem` and `rmem_max` are those of a host with at least 4 GiB of memory.
    pub const DEFAULT: Self = Self {
        ip_default_ttl: 64,
        tcp_timestamps: 1,
        tcp_sack: true,
        tcp_window_scaling: true,
        tcp_rmem: [4096, 131_072, 6_291_456],
        rmem_max: 212_992,
        tcp_adv_win_scale: None,
        tcp_workaround_signed_windows: false,
        tcp_ecn: 2,
        auto_flowlabels: 1,
        flowlabel_state_ranges: false,
        flowlabel_reflect: 0,
    };

    /// Reads the sysctls of the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// The error of reading a file. [`ErrorKind::NotFound`] if no sysctls can be seen, for example without `/proc`.
    pub fn read() -> io::Result<Self> {
        Self::read_from(Path::new(SYSCTLS), kernel::is_older_than(IGNORES_WINDOW_DIVISOR))
    }

    fn read_from(folder: &Path, has_window_divisor: bool) -> io::Result<Self> {
        let default = Self::DEFAULT;
        let (ipv4, ipv6) = (folder.join("ipv4"), folder.join("ipv6"));
        // Every kernel has this sysctl.
        let tcp_rmem = numbers(&ipv4.join("tcp_rmem"))?.ok_or(ErrorKind::NotFound)?;
        let flag = |name, default: bool| Ok::<_, io::Error>(number(&ipv4.join(name), u8::from(default))? != 0);
        let divisor = || number(&ipv4.join("tcp_adv_win_scale"), 1);
        Ok(Self {
            ip_default_ttl: number(&ipv4.join("ip_default_ttl"), default.ip_default_ttl)?,
            tcp_timestamps: number(&ipv4.join("tcp_timestamps"), default.tcp_timestamps)?,
            tcp_sack: flag("tcp_sack", default.tcp_sack)?,
            tcp_window_scaling: flag("tcp_window_scaling", default.tcp_window_scaling)?,
            tcp_rmem,
            rmem_max: number(&folder.join("core/rmem_max"), default.rmem_max)?,
            tcp_adv_win_scale: has_window_divisor.then(divisor).transpose()?,
            tcp_workaround_signed_windows: flag("tcp_workaround_signed_windows", false)?,
            tcp_ecn: number(&ipv4.join("tcp_ecn"), default.tcp_ecn)?,
            auto_flowlabels: number(&ipv6.join("auto_flowlabels"), default.auto_flowlabels)?,
            flowlabel_state_ranges: number(&ipv6.join("flowlabel_state_ranges"), 0u8)? != 0,
            flowlabel_reflect: number(&ipv6.join("flowlabel_reflect"), default.flowlabel_reflect)?,
        })
    }

    /// Returns the bytes of data for which a new receive buffer has room (`tcp_win_from_space`).
    pub fn receive_space(&self) -> u32 {
        let size = self.tcp_rmem[1];
        match self.tcp_adv_win_scale {
            None => size / 2,
            Some(scale) if scale <= 0 => size.checked_shr(scale.unsigned_abs().into()).unwrap_or(0),
            Some(scale) => size - size.checked_shr(scale.unsigned_abs().into()).unwrap_or(0),
        }
    }

    /// Returns the window scale of a new connection (`tcp_select_initial_window`).
    pub fn window_scale(&self) -> u8 {
        let largest = self.receive_space().max(self.tcp_rmem[2]).max(self.rmem_max);
        let bits = largest.checked_ilog2().unwrap_or(0).saturating_sub(15);
        bits.min(LARGEST_SCALE) as u8
    }

    /// Returns the settings for replies on an interface with an MTU of `mtu` bytes.
    pub fn reply_settings(&self, mtu: u32, ipv6: &Ipv6Settings, secrets: RunSecrets) -> ReplySettings {
        let hides_uptime = self.tcp_timestamps != TIMESTAMPS_WITHOUT_OFFSET;
        ReplySettings {
            ttl: self.ip_default_ttl,
            hop_limit: ipv6.hop_limit,
            mtu,
            mtu_v6: ipv6.mtu.unwrap_or(mtu),
            mss: None,
            window: None,
            receive_space: self.receive_space(),
            largest_window: if self.tcp_workaround_signed_windows { LARGEST_SIGNED_WINDOW } else { u32::MAX },
            window_scale: self.window_scale(),
            has_sack: self.tcp_sack,
            has_timestamps: self.tcp_timestamps != 0,
            has_window_scale: self.tcp_window_scaling,
            has_ecn: self.tcp_ecn != 0,
            has_flow_labels: matches!(self.auto_flowlabels, 1 | 3),
            marks_flow_labels: self.flowlabel_state_ranges,
            reflects_flow_labels: self.flowlabel_reflect & 1 != 0,
            seed: secrets.seed,
            timestamp_offset: if hides_uptime { secrets.timestamp_offset } else { clock::offset_since_boot() },
            has_connection_offsets: hides_uptime,
            style: ReplyStyle::LINUX,
        }
    }

    /// Returns the sysctls that differ from Linux's defaults, such as `tcp_sack=0`. Sysctls whose default depends on
    /// the memory of the host are not compared.
    pub fn differences(&self) -> Vec<String> {
        let values = |settings: &Self| {
            [
                ("ip_default_ttl", settings.ip_default_ttl),
                ("tcp_timestamps", settings.tcp_timestamps),
                ("tcp_sack", settings.tcp_sack.into()),
                ("tcp_window_scaling", settings.tcp_window_scaling.into()),
                ("tcp_workaround_signed_windows", settings.tcp_workaround_signed_windows.into()),
                ("tcp_ecn", settings.tcp_ecn),
                ("auto_flowlabels", settings.auto_flowlabels),
                ("flowlabel_state_ranges", settings.flowlabel_state_ranges.into()),
                ("flowlabel_reflect", settings.flowlabel_reflect),
            ]
        };
        let pairs = values(self).into_iter().zip(values(&Self::DEFAULT));
        let different = pairs.filter(|(own, default)| own != default);
        different.map(|((name, value), _)| format!("{name}={value}")).collect()
    }
}

impl Ipv6Settings {
    /// The defaults of Linux.
    pub const DEFAULT: Self = Self { hop_limit: 64, mtu: None };

    /// Reads the sysctls of the interface `name` in the calling thread's network namespace. If IPv6 is disabled,
    /// returns the defaults.
    ///
    /// # Errors
    ///
    /// The error of reading a file.
    pub fn read(name: &str) -> io::Result<Self> {
        Self::read_from(Path::new(SYSCTLS), name)
    }

    fn read_from(folder: &Path, name: &str) -> io::Result<Self> {
        let folder = folder.join("ipv6/conf").join(name);
        let hop_limit = number(&folder.join("hop_limit"), Self::DEFAULT.hop_limit)?;
        Ok(Self { hop_limit, mtu: numbers(&folder.join("mtu"))?.map(|[mtu]| mtu) })
    }
}

/// Reads the number in a file, or returns `default` if the file does not exist or the number is out of range.
fn number<N: FromStr + Copy>(file: &Path, default: N) -> io::Result<N> {
    Ok(numbers(file)?.map_or(default, |[number]| number))
}

/// Reads the numbers in a file. Returns `None` if the file does not exist, or contains anything else.
fn numbers<N: FromStr, const COUNT: usize>(file: &Path) -> io::Result<Option<[N; COUNT]>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
    let numbers: [Option<N>; COUNT] = array::from_fn(|_| numbers.next().flatten());
    Ok(numbers.into_iter().collect::<Option<Vec<N>>>().and_then(|numbers| numbers.try_into().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(tcp_rmem: [u32; 3], rmem_max: u32, tcp_adv_win_scale: Option<i8>) -> TcpSettings {
        TcpSettings { tcp_rmem, rmem_max, tcp_adv_win_scale, ..TcpSettings::DEFAULT }
    }

    #[test]
    fn only_a_key_gives_equal_seeds() {
        let seed = |isn| RunSecrets::generate(isn).seed;
        assert_eq!(seed(Isn::Keyed([7; 16])), seed(Isn::Keyed([7; 16])));
        assert_ne!(seed(Isn::Keyed([7; 16])), seed(Isn::Keyed([8; 16])));
        assert_ne!(seed(Isn::Fixed(7)), seed(Isn::Fixed(7)));
    }

    /// The values come from SYN-ACKs of Linux 6.18, or of 5.10 and 6.1 where a divisor is given.
    #[test]
    fn computes_space_and_scale_as_linux_does() {
        for (tcp_rmem, rmem_max, divisor, space, scale) in [
            ([4096, 131_072, 33_554_432], 4_194_304, None, 65_536, 10),
            ([4096, 131_072, 6_291_456], 212_992, None, 65_536, 7),
            ([4096, 131_072, 6_291_456], 212_992, Some(1), 65_536, 7),
            ([4096, 87_380, 6_291_456], 212_992, None, 43_690, 7),
            ([4096, 65_536, 131_072], 4_194_304, None, 32_768, 7),
            ([4096, 300_000, 6_291_456], 212_992, None, 150_000, 7),
            ([4096, 131_072, 131_072], 65_536, None, 65_536, 2),
            ([4096, 4096, 4096], 4096, None, 2048, 0),
            ([4096, 131_072, 6_291_456], 212_992, Some(2), 98_304, 7),
            ([4096, 131_072, 6_291_456], 212_992, Some(-2), 32_768, 7),
            ([4096, 131_072, i32::MAX as u32], i32::MAX as u32, Some(31), 131_072, 14),
            ([4096, 131_072, 6_291_456], 212_992, Some(-31), 0, 7),
        ] {
            let settings = settings(tcp_rmem, rmem_max, divisor);
            assert_eq!((settings.receive_space(), settings.window_scale()), (space, scale), "{settings:?}");
        }
    }

    #[test]
    fn reads_sysctls_and_uses_defaults_for_missing_ones() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        let missing = TcpSettings::read_from(folder.path(), false).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);

        write("ipv4/tcp_rmem", "4096\t131072\t6291456\n");
        let defaults = TcpSettings::read_from(folder.path(), false).unwrap();
        assert_eq!((defaults.clone(), defaults.differences()), (TcpSettings::DEFAULT, Vec::new()));
        assert_eq!(Ipv6Settings::read_from(folder.path(), "eth0").unwrap(), Ipv6Settings::DEFAULT);

        write("ipv4/tcp_rmem", "4096\t87380\t16777216\n");
        write("ipv4/tcp_sack", "0\n");
        write("ipv6/flowlabel_reflect", "7\n");
        write("ipv4/ip_default_ttl", "128\n");
        write("ipv4/tcp_adv_win_scale", "-2\n");
        write("core/rmem_max", "1048576\n");
        write("ipv6/conf/eth0/hop_limit", "255\n");
        write("ipv6/conf/eth0/mtu", "1280\n");
        let read = TcpSettings::read_from(folder.path(), true).unwrap();
        assert_eq!(read.differences(), ["ip_default_ttl=128", "tcp_sack=0", "flowlabel_reflect=7"]);
        assert_eq!((read.tcp_rmem, read.rmem_max), ([4096, 87_380, 16_777_216], 1_048_576));
        assert_eq!(read.receive_space(), 87_380 / 4);
        let ipv6 = Ipv6Settings::read_from(folder.path(), "eth0").unwrap();
        assert_eq!(ipv6, Ipv6Settings { hop_limit: 255, mtu: Some(1280) });
    }
}
