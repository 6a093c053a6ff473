//! The options of a SYN that a SYN-ACK can accept, and their parsers.

use zerocopy::byteorder::network_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::frame::{Frame, MAX_OFFSET, Span};
use crate::reply_settings::ReplySettings;
use crate::tcp::Tcp;
use crate::tcp_options::{
    AUTHENTICATION, END, MD5, MSS, MssOption, NOP, SACK_AND_TIMESTAMPS, SACK_PERMITTED, TIMESTAMPS, TimestampsOption,
    WINDOW_SCALE,
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
    /// [`LinuxOptions`] contains the offset 0 instead.
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
    #[inline(always)]
    pub fn parse<F: Frame>(frame: &mut F, span: Span) -> Self {
        let (mut offset, end) = (span.offset, span.offset + span.length);
        let mut options = Self::NONE;
        // The largest possible number of options: 40 bytes of NOPs.
        for _ in 0..Tcp::MAX_LENGTH - size_of::<Tcp>() {
            let Some(length) = options.add(frame, offset, end) else { break };
            // The mask gives the verifier an upper bound. Without the mask, the bound would grow with each option.
            offset = (offset + length) & MAX_OFFSET;
        }
        options
    }

    /// Adds the option at `offset` and returns its length in bytes. Returns `None` at the end of the list or for a
    /// malformed option. The list ends at offset `end` or at an END option.
    #[inline(always)]
    fn add<F: Frame>(&mut self, frame: &mut F, offset: usize, end: usize) -> Option<usize> {
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
        match (kind, length) {
            (WINDOW_SCALE, 3) => self.0 |= Self::WINDOW_SCALE,
            (SACK_PERMITTED, 2) => self.0 |= Self::SACK,
            // Of several timestamps options, the last is used.
            (TIMESTAMPS, 10) => {
                let value = frame.at::<U32>(offset + 2)?.get();
                let flags = self.0 & (Self::SACK | Self::WINDOW_SCALE | Self::SIGNED) | Self::TIMESTAMPS;
                self.0 = (offset as u64) << Self::TIMESTAMPS_OFFSET_SHIFT | flags | u64::from(value);
            }
            (MD5 | AUTHENTICATION, _) => self.0 |= Self::SIGNED,
            _ => {}
        }
        Some(length)
    }
}

/// The options that SYN-ACKs accept, as a mask for the number in [`SynOptions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct AcceptedOptions(u64);

impl AcceptedOptions {
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
        Self(mask)
    }

    /// Returns whether SYN-ACKs accept timestamps, SACK and window scaling.
    #[inline(always)]
    pub fn is_all(self) -> bool {
        self == Self::ALL
    }
}

/// The options of a Linux client's SYN, in a fixed layout that is parsed without a loop.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LinuxOptions {
    mss: MssOption,
    timestamps: TimestampsOption,
    window_scale: [u8; 4],
}

impl LinuxOptions {
    /// Parses the options in `span`, or returns `None` if they have another layout.
    #[inline(always)]
    pub fn parse_at<F: Frame>(frame: &mut F, span: Span) -> Option<SynOptions> {
        if span.length == size_of::<Self>() { frame.at::<Self>(span.offset)?.parse() } else { None }
    }

    /// Returns the parsed options, or `None` if the bytes do not have Linux's layout.
    #[inline(always)]
    pub fn parse(&self) -> Option<SynOptions> {
        let Self { mss, timestamps, window_scale } = self;
        let is_window_scale =
            u32::from_le_bytes(*window_scale) & 0xff_ffff == u32::from_le_bytes([NOP, WINDOW_SCALE, 3, 0]);
        let is_linux = [mss.kind, mss.length] == [MSS, 4] && timestamps.head == SACK_AND_TIMESTAMPS && is_window_scale;
        let flags = SynOptions::TIMESTAMPS | SynOptions::SACK | SynOptions::WINDOW_SCALE;
        is_linux.then(|| SynOptions(u64::from(timestamps.value.get()) | flags))
    }
}
