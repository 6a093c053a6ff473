//! The options of a SYN that a SYN-ACK can accept, and their parsers.

use zerocopy::byteorder::network_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::frame::{Frame, MAX_OFFSET, Span, View};
use crate::reply_settings::ReplySettings;
use crate::tcp::Tcp;
use crate::tcp_options::{
    AUTHENTICATION, END, LAST_SACK, LONE_SACK, LONE_TIMESTAMPS, MD5, MSS, MssOption, NOP, SACK_AND_TIMESTAMPS,
    SACK_PERMITTED, TIMESTAMPS, TimestampsOption, WINDOW_SCALE,
};

/// The parsed options of a SYN.
///
/// The lower 32 bits hold the TSval, the next bits one flag per option, and the upper 16 bits the offset of the
/// timestamps option. Global functions of the XDP program can return only a number, so the type is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynOptions(pub u64);

impl SynOptions {
    /// No options.
    pub const NONE: Self = Self(0);

    const TIMESTAMPS: u64 = 1 << 32;
    const SACK: u64 = 1 << 33;
    const WINDOW_SCALE: u64 = 1 << 34;
    const SIGNED: u64 = 1 << 35;
    /// A flag that is never set.
    const UNUSED: u64 = 1 << 36;
    /// The position of the lowest of the three flags for timestamps, SACK and window scale.
    const COMBINATION_SHIFT: u32 = 32;
    /// The number of combinations of timestamps, SACK and window scale.
    pub(crate) const COMBINATIONS: usize = 8;
    /// The position of the lowest bit of the timestamps option's offset.
    const TIMESTAMPS_OFFSET_SHIFT: u32 = 48;

    /// Returns options that contain only timestamps with this TSval.
    #[inline(always)]
    pub const fn with_timestamp(value: u32) -> Self {
        Self(Self::TIMESTAMPS | value as u64)
    }

    /// Returns the TSval, if there is a timestamps option.
    #[inline(always)]
    pub const fn timestamp(self) -> Option<u32> {
        if self.0 & Self::TIMESTAMPS != 0 { Some(self.0 as u32) } else { None }
    }

    /// Returns the offset of the timestamps option in the frame, if [`SynOptions::parse`] found one. The result of
    /// [`SynOptions::parse_common`] contains the offset 0 instead.
    #[inline(always)]
    pub const fn timestamps_offset(self) -> Option<usize> {
        // The mask gives the verifier an upper bound for the offset.
        let offset = (self.0 >> Self::TIMESTAMPS_OFFSET_SHIFT) as usize & MAX_OFFSET;
        if self.0 & Self::TIMESTAMPS != 0 { Some(offset) } else { None }
    }

    /// Returns whether the client permits selective acknowledgments (SACK).
    #[inline(always)]
    pub const fn has_sack(self) -> bool {
        self.0 & Self::SACK != 0
    }

    /// Returns whether there is a window scale option.
    #[inline(always)]
    pub const fn has_window_scale(self) -> bool {
        self.0 & Self::WINDOW_SCALE != 0
    }

    /// Returns whether the SYN has a signature option: MD5 (RFC 2385) or TCP-AO (RFC 5925).
    #[inline(always)]
    pub const fn is_signed(self) -> bool {
        self.0 & Self::SIGNED != 0
    }

    /// Returns the combination of timestamps, SACK and window scale, as a number below [`Self::COMBINATIONS`].
    #[inline(always)]
    pub(crate) const fn combination(self) -> usize {
        (self.0 >> Self::COMBINATION_SHIFT) as usize & (Self::COMBINATIONS - 1)
    }

    /// Returns the options of this combination, with the TSval 0.
    pub(crate) const fn of_combination(combination: usize) -> Self {
        Self((combination as u64) << Self::COMBINATION_SHIFT)
    }

    /// Parses the options in `span` if they have the layout of a common client, without a loop. Returns `None` for any
    /// other layout.
    #[inline(always)]
    pub fn parse_common<F: Frame>(frame: &mut F, span: Span) -> Option<Self> {
        const LINUX: usize = size_of::<LinuxOptions>();
        const MACOS: usize = size_of::<MacosOptions>();
        const WINDOWS: usize = size_of::<WindowsOptions>();
        match span.length {
            LINUX => frame.at::<LinuxOptions>(span.offset)?.parse(),
            MACOS => frame.at::<MacosOptions>(span.offset)?.parse(),
            WINDOWS => frame.at::<WindowsOptions>(span.offset)?.parse(),
            _ => None,
        }
    }

    /// Returns those of these options that are in `accepted`. A signature stays.
    #[inline(always)]
    pub const fn accepted_by(self, accepted: AcceptedOptions) -> Self {
        Self(self.0 & accepted.0)
    }

    /// Returns these options without the window scale option.
    #[inline(always)]
    pub const fn without_window_scale(self) -> Self {
        Self(self.0 & !Self::WINDOW_SCALE)
    }

    /// Parses the options in `span` as Linux does (`tcp_parse_options`): parsing ends at the first malformed option,
    /// and the options before it are used.
    ///
    /// `none` must be [`SynOptions::NONE`]. In the XDP program, it is a number that the verifier does not know. The
    /// verifier then knows as little about the options found so far, and checks each step of the loop for all of them
    /// at once.
    #[inline(always)]
    pub fn parse<F: Frame>(frame: &mut F, span: Span, none: Self) -> Self {
        let (mut offset, end) = (span.offset, span.offset + span.length);
        let mut options = none;
        // The largest possible number of options: 40 bytes of NOPs.
        for _ in 0..Tcp::MAX_LENGTH - size_of::<Tcp>() {
            let Some(length) = options.add(frame, offset, end, none) else { break };
            // The mask gives the verifier an upper bound. Without the mask, the bound would grow with each option.
            offset = (offset + length) & MAX_OFFSET;
        }
        options
    }

    /// Adds the option at `offset` and returns its length in bytes. Returns `None` at the end of the list or for a
    /// malformed option. The list ends at offset `end` or at an END option.
    #[inline(always)]
    fn add<F: Frame>(&mut self, frame: &mut F, offset: usize, end: usize, none: Self) -> Option<usize> {
        if offset >= end {
            return None;
        }
        let kind = *frame.at::<u8>(offset)?;
        match kind {
            END => return None,
            NOP => return Some(1),
            _ => {}
        }
        let length = *frame.at::<u8>(offset + 1)? as usize;
        if length < 2 || offset + length > end {
            return None;
        }
        let flag = match (kind, length) {
            (WINDOW_SCALE, 3) => Self::WINDOW_SCALE,
            (SACK_PERMITTED, 2) => Self::SACK,
            // Of several timestamps options, the last is used.
            (TIMESTAMPS, 10) => {
                let value = frame.at::<U32>(offset + 2)?.get();
                self.0 &= Self::SACK | Self::WINDOW_SCALE | Self::SIGNED;
                (offset as u64) << Self::TIMESTAMPS_OFFSET_SHIFT | Self::TIMESTAMPS | u64::from(value)
            }
            (MD5 | AUTHENTICATION, _) => Self::SIGNED,
            _ => 0,
        };
        self.0 |= none.0.wrapping_add(flag);
        Some(length)
    }
}

/// The options that SYN-ACKs accept, as a mask for the number in [`SynOptions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct AcceptedOptions(u64);

impl AcceptedOptions {
    /// All options, in SYN-ACKs in the style of Linux.
    const ALL: Self = Self(u64::MAX);

    /// Returns the options that SYN-ACKs with these settings accept.
    pub(crate) const fn new(settings: &ReplySettings) -> Self {
        let mut mask = Self::ALL.0;
        if !settings.has_timestamps {
            mask &= !SynOptions::TIMESTAMPS;
        }
        if !settings.has_sack {
            mask &= !SynOptions::SACK;
        }
        if !settings.has_window_scale {
            mask &= !SynOptions::WINDOW_SCALE;
        }
        if !settings.style.is_linux() {
            mask &= !SynOptions::UNUSED;
        }
        Self(mask)
    }

    /// Returns whether SYN-ACKs accept timestamps, SACK and window scaling, in the style of Linux.
    #[inline(always)]
    pub fn is_all(self) -> bool {
        self == Self::ALL
    }
}

/// SYN options in a fixed layout, which are parsed without a loop.
pub trait OptionLayout: View + Copy {
    /// Returns the parsed options, or `None` if the bytes do not have this layout.
    fn parse(&self) -> Option<SynOptions>;
}

/// The options of a Linux client's SYN.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LinuxOptions {
    mss: MssOption,
    timestamps: TimestampsOption,
    window_scale: [u8; 4],
}

impl OptionLayout for LinuxOptions {
    #[inline(always)]
    fn parse(&self) -> Option<SynOptions> {
        let Self { mss, timestamps, window_scale } = self;
        let is_linux = has_mss(mss) && timestamps.head == SACK_AND_TIMESTAMPS && is_window_scale(*window_scale);
        let flags = SynOptions::TIMESTAMPS | SynOptions::SACK | SynOptions::WINDOW_SCALE;
        is_linux.then(|| SynOptions(u64::from(timestamps.value.get()) | flags))
    }
}

/// The options of a SYN of macOS or iOS.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct MacosOptions {
    mss: MssOption,
    window_scale: [u8; 4],
    timestamps: TimestampsOption,
    sack: [u8; 4],
}

impl OptionLayout for MacosOptions {
    #[inline(always)]
    fn parse(&self) -> Option<SynOptions> {
        let Self { mss, window_scale, timestamps, sack } = self;
        let is_macos =
            has_mss(mss) && is_window_scale(*window_scale) && timestamps.head == LONE_TIMESTAMPS && *sack == LAST_SACK;
        let flags = SynOptions::TIMESTAMPS | SynOptions::SACK | SynOptions::WINDOW_SCALE;
        is_macos.then(|| SynOptions(u64::from(timestamps.value.get()) | flags))
    }
}

/// The options of a SYN of Windows 10 or newer.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct WindowsOptions {
    mss: MssOption,
    window_scale: [u8; 4],
    sack: [u8; 4],
}

impl OptionLayout for WindowsOptions {
    #[inline(always)]
    fn parse(&self) -> Option<SynOptions> {
        let Self { mss, window_scale, sack } = self;
        let is_windows = has_mss(mss) && is_window_scale(*window_scale) && *sack == LONE_SACK;
        is_windows.then_some(SynOptions(SynOptions::SACK | SynOptions::WINDOW_SCALE))
    }
}

/// Returns whether kind and length are those of the MSS option.
#[inline(always)]
fn has_mss(option: &MssOption) -> bool {
    [option.kind, option.length] == [MSS, 4]
}

/// Returns whether these bytes are a NOP and a window scale option.
#[inline(always)]
const fn is_window_scale(bytes: [u8; 4]) -> bool {
    u32::from_le_bytes(bytes) & 0xff_ffff == u32::from_le_bytes([NOP, WINDOW_SCALE, 3, 0])
}
