//! The state of an interface, which user space keeps up to date.

use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::{IpAddress as _, Ipv4Address, Ipv6Address, Mac};
use crate::ethernet::MacFilter;
use crate::flow_label::FlowLabels;
use crate::ip::Ip;
use crate::option_block::OptionBlocks;
use crate::reply_settings::ReplySettings;
use crate::syn_options::AcceptedOptions;
use crate::tcp::Tcp;
use crate::tcp_options::MssOption;

/// The length of IPv4 and TCP headers without options, in bytes: the difference between MTU and MSS.
const IPV4_HEADERS: u32 = 40;
/// The length of IPv6 and TCP headers without options, in bytes: the difference between MTU and MSS.
const IPV6_HEADERS: u32 = 60;
/// The smallest MSS that Linux advertises over IPv4, in bytes (`ip_rt_min_advmss`).
const IPV4_LEAST_MSS: u32 = 256;
/// The smallest MSS that Linux advertises over IPv6, in bytes (`ip6_rt_min_advmss`).
const IPV6_LEAST_MSS: u32 = 1220;
/// The length of the timestamps option in each segment, in bytes, with padding.
const TIMESTAMPS_LENGTH: u16 = 12;

/// The addresses of an interface, and the values of its replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InterfaceState {
    /// The frames that may take the fast path over IPv4. [`MacFilter::NOTHING`] without a primary address.
    fast_path_v4: MacFilter,
    /// The frames that may take the fast path over IPv6. [`MacFilter::NOTHING`] without a primary address.
    fast_path_v6: MacFilter,
    /// The options that SYN-ACKs accept.
    pub accepted_options: AcceptedOptions,
    /// The flow labels of replies over IPv6.
    pub flow_labels: FlowLabels,
    /// The advertised values over IPv4.
    pub v4: Advertised,
    /// The advertised values over IPv6.
    pub v6: Advertised,
    /// The receive windows over IPv4.
    pub windows_v4: ReceiveWindows,
    /// The receive windows over IPv6.
    pub windows_v6: ReceiveWindows,
    /// The offset of all TSvals from the clock, in milliseconds.
    pub timestamp_offset: u32,
    /// The bits of a keyed hash that are added to the TSvals of a connection: all or none.
    pub connection_offset_mask: u32,
    /// The interface's MAC address.
    pub mac: Mac,
    /// The flag that accepts ECN in a SYN-ACK, and reports congestion in later replies: [`Tcp::ECE`], or 0 without ECN.
    pub ecn_echo: u8,
    reserved: u8,
    /// The primary IPv4 address, compared before the address set is searched. Unspecified (all zeros) if there is none.
    primary_v4: Ipv4Address,
    /// The primary IPv6 address, compared before the address set is searched. Unspecified (all zeros) if there is none.
    primary_v6: Ipv6Address,
    /// The options of SYN-ACKs, in the order of the style. The style of Linux does not need them.
    pub option_blocks: OptionBlocks,
    /// The number that is added to rising IPv4 identifications.
    pub identification_offset: u16,
    /// The window of SYN-ACKs with window scaling, in bytes, or 0 for the window of other SYN-ACKs.
    scaled_window: U16,
    reserved_after_style: u32,
}

impl InterfaceState {
    /// The state of an Ethernet interface with the default settings. The MAC address is zero, and there are no primary
    /// addresses.
    pub const BUILT_IN: Self = Self::new(Mac([0; 6]), &ReplySettings::DEFAULT);

    /// Returns the state of an interface with these settings, without primary addresses.
    pub const fn new(mac: Mac, settings: &ReplySettings) -> Self {
        let ReplySettings { ttl, hop_limit, mtu, mtu_v6, .. } = *settings;
        let v4 = Advertised::new(mtu.saturating_sub(IPV4_HEADERS), IPV4_LEAST_MSS, ttl, settings);
        let v6 = Advertised::new(mtu_v6.saturating_sub(IPV6_HEADERS), IPV6_LEAST_MSS, hop_limit, settings);
        Self {
            accepted_options: AcceptedOptions::new(settings),
            flow_labels: FlowLabels::new(settings),
            v4,
            v6,
            windows_v4: ReceiveWindows::new(v4.mss.mss.get(), settings),
            windows_v6: ReceiveWindows::new(v6.mss.mss.get(), settings),
            timestamp_offset: settings.timestamp_offset,
            connection_offset_mask: if settings.has_connection_offsets { u32::MAX } else { 0 },
            mac,
            ecn_echo: if settings.has_ecn { Tcp::ECE } else { 0 },
            reserved: 0,
            primary_v4: Ipv4Address::UNSPECIFIED,
            primary_v6: Ipv6Address::UNSPECIFIED,
            option_blocks: OptionBlocks::new(settings.style.option_order, settings.window_scale),
            identification_offset: (settings.seed >> 48) as u16,
            scaled_window: U16::new(match settings.style.scaled_window {
                Some(window) => window,
                None => 0,
            }),
            reserved_after_style: 0,
            fast_path_v4: MacFilter::NOTHING,
            fast_path_v6: MacFilter::NOTHING,
        }
    }

    /// Returns this state with these primary addresses. An unspecified address stands for none.
    pub fn with_primary_addresses(self, v4: Ipv4Address, v6: Ipv6Address) -> Self {
        let filter = |has_primary| if has_primary { MacFilter::new(self.mac) } else { MacFilter::NOTHING };
        Self {
            primary_v4: v4,
            primary_v6: v6,
            fast_path_v4: filter(v4 != Ipv4Address::UNSPECIFIED),
            fast_path_v6: filter(v6 != Ipv6Address::UNSPECIFIED),
            ..self
        }
    }

    /// Returns whether a frame that starts with these bytes, to `destination`, may take the fast path.
    ///
    /// While user space writes a changed state, the filter and the address may differ for a moment. Only a frame to the
    /// unspecified address could then get another verdict.
    #[inline(always)]
    pub fn allows_fast_path<I: Ip>(&self, start: [u8; 8], destination: I::Address) -> bool {
        I::choose(self.fast_path_v4, self.fast_path_v6).matches(start)
            && destination == *I::choose_address(&self.primary_v4, &self.primary_v6)
    }

    /// Returns whether `address` is the primary address of its IP version.
    #[inline(always)]
    pub fn is_primary<I: Ip>(&self, address: I::Address) -> bool {
        address == *I::choose_address(&self.primary_v4, &self.primary_v6) && address != I::Address::UNSPECIFIED
    }

    /// Returns the receive windows over IP version `I`, and the window scale.
    #[inline(always)]
    pub fn receive_windows<I: Ip>(&self) -> (&ReceiveWindows, u8) {
        (I::choose(&self.windows_v4, &self.windows_v6), self.advertised::<I>().window_scale)
    }

    /// Returns `advertised` with the window of a SYN-ACK with window scaling, which some styles change.
    #[inline(always)]
    pub(crate) fn with_scaled_window(&self, advertised: Advertised) -> Advertised {
        let window = self.scaled_window;
        if window.get() == 0 { advertised } else { Advertised { window, window_with_timestamps: window, ..advertised } }
    }

    /// Returns the values that SYN-ACKs over IP version `I` advertise.
    #[inline(always)]
    pub fn advertised<I: Ip>(&self) -> &Advertised {
        I::choose(&self.v4, &self.v6)
    }
}

/// The values that replies over one IP version advertise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Advertised {
    /// The MSS option.
    pub mss: MssOption,
    /// The receive window of a SYN-ACK without timestamps, in bytes.
    pub window: U16,
    /// The receive window of a SYN-ACK with timestamps, in bytes.
    pub window_with_timestamps: U16,
    /// The time to live or hop limit, in hops.
    pub ttl: u8,
    /// The window scale, as a shift count. A SYN-ACK has this option only if the SYN has it.
    pub window_scale: u8,
}

impl Advertised {
    /// Returns the values for an interface whose packets have room for `available_mss` bytes of TCP payload.
    ///
    /// The derived MSS is at least `least_mss` bytes.
    const fn new(available_mss: u32, least_mss: u32, ttl: u8, settings: &ReplySettings) -> Self {
        let mss = match settings.mss {
            Some(mss) => mss,
            None => {
                let mss = if available_mss < least_mss { least_mss } else { available_mss };
                if mss > u16::MAX as u32 { u16::MAX } else { mss as u16 }
            }
        };
        let windows = ReceiveWindows::new(mss, settings);
        Self {
            mss: MssOption::new(U16::new(mss)),
            window: U16::new(window_field(windows.without_timestamps as u64)),
            window_with_timestamps: U16::new(window_field(windows.with_timestamps as u64)),
            ttl,
            window_scale: settings.window_scale,
        }
    }

    /// Returns these values with an MSS and a window of `length` bytes, with which the client sends at most one segment
    /// at a time.
    pub(crate) const fn with_one_segment(self, length: u16) -> Self {
        let length = U16::new(length);
        Self { mss: MssOption::new(length), window: length, window_with_timestamps: length, ..self }
    }
}

/// The receive windows of connections over one IP version, in bytes. They may exceed the window field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ReceiveWindows {
    without_timestamps: u32,
    with_timestamps: u32,
}

impl ReceiveWindows {
    /// Returns the windows of connections with an advertised MSS of `mss` bytes.
    const fn new(mss: u16, settings: &ReplySettings) -> Self {
        Self {
            without_timestamps: receive_window(mss, settings),
            with_timestamps: receive_window(mss.saturating_sub(TIMESTAMPS_LENGTH), settings),
        }
    }

    /// Returns the window field of an answer to a segment with `received` bytes of data (a FIN counts as one), in units
    /// of 2^`window_scale` bytes.
    ///
    /// As in Linux, the received data leaves less room in the window, and the field is rounded up
    /// (`tcp_select_window`). An answer to data that fills more than half of the window advertises all of it: the
    /// program has read the data.
    #[inline(always)]
    pub(crate) const fn field(&self, window_scale: u8, has_timestamps: bool, received: u32) -> u16 {
        let window = if has_timestamps { self.with_timestamps } else { self.without_timestamps };
        let room = if received <= window / 2 { window.wrapping_sub(received) } else { window };
        let shift = window_scale & 15;
        window_field((room as u64 + (1 << shift) - 1) >> shift)
    }
}

/// Returns the receive window in bytes, for segments with up to `mss` bytes of data.
///
/// Linux rounds the space of the receive buffer down to whole segments (`tcp_select_initial_window`).
const fn receive_window(mss: u16, settings: &ReplySettings) -> u32 {
    if let Some(window) = settings.window {
        return window as u32;
    }
    let (space, mss) = (settings.receive_space, mss as u32);
    let whole_segments = if mss == 0 || space <= mss { space } else { space - space % mss };
    if whole_segments < settings.largest_window { whole_segments } else { settings.largest_window }
}

/// Returns the largest value of a window field up to `window`.
#[inline(always)]
const fn window_field(window: u64) -> u16 {
    if window > u16::MAX as u64 { u16::MAX } else { window as u16 }
}
