//! TCP options: what a SYN offers, and what of it the SYN-ACK takes up, as Linux does it.

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::Sum;
use crate::frame::{Frame, MAX_OFFSET};
use crate::ip::Span;
use crate::tcp::Tcp;

/// End of the list (RFC 9293, 3.1).
pub const END: u8 = 0;
/// No operation: one byte of padding (RFC 9293, 3.1).
pub const NOP: u8 = 1;
/// Maximum segment size (RFC 9293, 3.7.1).
pub const MSS: u8 = 2;
/// Window scale (RFC 7323, 2.2).
pub const WINDOW_SCALE: u8 = 3;
/// SACK permitted (RFC 2018, 2).
pub const SACK_PERMITTED: u8 = 4;
/// Timestamps (RFC 7323, 3.2).
pub const TIMESTAMPS: u8 = 8;
/// MD5 signature (RFC 2385).
pub const MD5: u8 = 19;
/// TCP authentication option (RFC 5925).
pub const AUTHENTICATION: u8 = 29;

/// The option "maximum segment size".
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct MssOption {
    /// [`MSS`].
    pub kind: u8,
    /// 4.
    pub length: u8,
    /// The largest payload that the sender of this option takes, in bytes.
    pub mss: U16,
}

impl MssOption {
    /// The option that announces `mss`.
    #[inline(always)]
    pub const fn new(mss: U16) -> Self {
        Self { kind: MSS, length: 4, mss }
    }
}

/// Timestamps, as Linux lays them out: behind SACK permitted, or behind two NOPs.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct TimestampsOption {
    /// Two bytes before it, kind, and length: one word, to be compared as one.
    head: [u8; 4],
    value: U32,
    echo_reply: U32,
}

/// The options of Linux's SYN, and of its SYN-ACK to such a one.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LinuxOptions {
    mss: MssOption,
    timestamps: TimestampsOption,
    window_scale: [u8; 4],
}

impl LinuxOptions {
    /// What the options in this part of `frame` offer, if they are these.
    #[inline(always)]
    pub fn offer_at<F: Frame>(frame: &mut F, options: Span) -> Option<SynOptions> {
        if options.length == size_of::<Self>() { frame.at::<Self>(options.offset)?.offer() } else { None }
    }

    /// What they offer, if they are these.
    #[inline(always)]
    pub fn offer(&self) -> Option<SynOptions> {
        let Self { mss, timestamps, window_scale } = self;
        let is_window_scale =
            u32::from_le_bytes(*window_scale) & 0xff_ffff == u32::from_le_bytes([NOP, WINDOW_SCALE, 3, 0]);
        let is_linux = [mss.kind, mss.length] == [MSS, 4] && timestamps.head == SACK_AND_TIMESTAMPS && is_window_scale;
        let flags = SynOptions::TIMESTAMPS | SynOptions::SACK | SynOptions::WINDOW_SCALE;
        is_linux.then(|| SynOptions(u64::from(timestamps.value.get()) | flags))
    }
}

const SACK_AND_TIMESTAMPS: [u8; 4] = [SACK_PERMITTED, 2, TIMESTAMPS, 10];
const LONE_TIMESTAMPS: [u8; 4] = [NOP, NOP, TIMESTAMPS, 10];
const LONE_SACK: [u8; 4] = [NOP, NOP, SACK_PERMITTED, 2];

/// What a SYN offers of what the SYN-ACK can take up: TSval in the lower half, and above it a bit for each option, and where
/// in the frame the timestamps lie.
///
/// It is one number so that a function of the XDP program can return it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynOptions(pub u64);

impl SynOptions {
    const TIMESTAMPS: u64 = 1 << 32;
    const SACK: u64 = 1 << 33;
    const WINDOW_SCALE: u64 = 1 << 34;
    const SIGNED: u64 = 1 << 35;
    /// The offset of the option "timestamps", where options are gone over.
    const TIMESTAMPS_OFFSET_SHIFT: u32 = 48;

    /// TSval, if there are timestamps.
    #[inline(always)]
    pub const fn timestamp(self) -> Option<u32> {
        if self.0 & Self::TIMESTAMPS != 0 { Some(self.0 as u32) } else { None }
    }

    /// The offset of the option "timestamps" in the frame, if there are timestamps.
    #[inline(always)]
    const fn timestamps_offset(self) -> Option<usize> {
        // The mask is for the verifier.
        let offset = (self.0 >> Self::TIMESTAMPS_OFFSET_SHIFT) as usize & MAX_OFFSET;
        if self.0 & Self::TIMESTAMPS != 0 { Some(offset) } else { None }
    }

    /// Whether it offers selective acknowledgments.
    #[inline(always)]
    pub const fn sack(self) -> bool {
        self.0 & Self::SACK != 0
    }

    /// Whether it offers window scaling.
    #[inline(always)]
    pub const fn window_scale(self) -> bool {
        self.0 & Self::WINDOW_SCALE != 0
    }

    /// Whether it is signed, so that the answer would have to be (MD5 or TCP-AO).
    #[inline(always)]
    pub const fn signed(self) -> bool {
        self.0 & Self::SIGNED != 0
    }

    /// What the options in this part of `frame` offer.
    ///
    /// They are read like `tcp_parse_options` of Linux does it: the first that makes no sense ends them, and what came
    /// before counts.
    #[inline(always)]
    pub fn read<F: Frame>(frame: &mut F, options: Span) -> Self {
        let (mut offset, end) = (options.offset, options.offset + options.length);
        let mut offer = Self(0);
        // As many as there can be: NOPs.
        for _ in 0..Tcp::MAX_LENGTH - size_of::<Tcp>() {
            let Some(length) = offer.take_up(frame, offset, end) else { break };
            // The mask is for the verifier, which would let the offset grow with each option.
            offset = (offset + length) & MAX_OFFSET;
        }
        offer
    }

    /// Adds what the option at `offset` of `frame` offers, and returns its length; `None` at the end of all options,
    /// `end`, or if it makes no sense.
    #[inline(always)]
    fn take_up<F: Frame>(&mut self, frame: &mut F, offset: usize, end: usize) -> Option<usize> {
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
            // Of two, the latter.
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

/// The options of a reply; of a SYN-ACK, those behind MSS.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    offer: SynOptions,
    /// TSval.
    value: u32,
    window_scale: u8,
}

impl Options {
    /// Those of a SYN-ACK: takes up all that is offered. `now` tells the time in TSval's units.
    #[inline(always)]
    pub fn new(offer: SynOptions, window_scale: u8, now: impl Fn() -> u32) -> Self {
        let value = if offer.timestamp().is_some() { now() } else { 0 };
        Self { offer, value, window_scale }
    }

    /// Those of an answer to a later segment with these options: its timestamps swapped, if there are some.
    ///
    /// What the client has last seen of our clock, which it has to echo (RFC 7323, 3.2), is never behind for it (5.3), also if
    /// the clock has been set back since: the machine was started anew, or it is another one with the same key.
    #[inline(always)]
    pub fn of_later<F: Frame>(frame: &mut F, options: Span) -> Self {
        let (offer, value) = match timestamps(frame, options) {
            Some([value, echo_reply]) => {
                (SynOptions(SynOptions::TIMESTAMPS | u64::from(value.get())), echo_reply.get())
            }
            None => (SynOptions(0), 0),
        };
        Self { offer, value, window_scale: 0 }
    }

    /// The same without window scaling.
    #[inline(always)]
    pub const fn without_window_scale(self) -> Self {
        Self { offer: SynOptions(self.offer.0 & !SynOptions::WINDOW_SCALE), ..self }
    }

    /// Their length in bytes.
    #[inline(always)]
    pub const fn length(&self) -> usize {
        (if self.has_timestamps() { size_of::<TimestampsOption>() } else { 0 })
            + (if self.has_lone_sack() { size_of_val(&LONE_SACK) } else { 0 })
            + (if self.offer.window_scale() { size_of::<[u8; 4]>() } else { 0 })
    }

    /// Whether there are timestamps among them.
    #[inline(always)]
    pub const fn has_timestamps(&self) -> bool {
        self.offer.timestamp().is_some()
    }

    /// SACK permitted, where it does not share its word with timestamps.
    #[inline(always)]
    const fn has_lone_sack(&self) -> bool {
        self.offer.sack() && !self.has_timestamps()
    }

    #[inline(always)]
    const fn timestamps_head(&self) -> [u8; 4] {
        if self.offer.sack() { SACK_AND_TIMESTAMPS } else { LONE_TIMESTAMPS }
    }

    #[inline(always)]
    const fn window_scale(&self) -> [u8; 4] {
        // As one word: an array would be stored byte by byte.
        (u32::from_le_bytes([NOP, WINDOW_SCALE, 3, 0]) | (self.window_scale as u32) << 24).to_le_bytes()
    }

    /// Their sum.
    #[inline(always)]
    pub fn sum(&self) -> Sum {
        let mut sum = Sum::ZERO;
        if let Some(echo_reply) = self.offer.timestamp() {
            sum = sum.words(self.timestamps_head()).words(self.value.to_be_bytes()).words(echo_reply.to_be_bytes());
        }
        if self.has_lone_sack() {
            sum = sum.words(LONE_SACK);
        }
        if self.offer.window_scale() {
            sum = sum.words(self.window_scale());
        }
        sum
    }

    /// Writes them to `frame`; `None` if there is no room.
    #[inline(always)]
    pub fn write<F: Frame>(&self, frame: &mut F, mut offset: usize) -> Option<()> {
        if let Some(echo_reply) = self.offer.timestamp() {
            *frame.at(offset)? = TimestampsOption {
                head: self.timestamps_head(),
                value: U32::new(self.value),
                echo_reply: U32::new(echo_reply),
            };
            offset += size_of::<TimestampsOption>();
        }
        if self.has_lone_sack() {
            *frame.at(offset)? = LONE_SACK;
            offset += size_of_val(&LONE_SACK);
        }
        if self.offer.window_scale() {
            *frame.at(offset)? = self.window_scale();
        }
        Some(())
    }
}

/// TSval and TSecr among these options, if they are there.
#[inline(always)]
fn timestamps<F: Frame>(frame: &mut F, options: Span) -> Option<[U32; 2]> {
    if options.length == size_of::<TimestampsOption>() {
        let TimestampsOption { head, value, echo_reply } = *frame.at(options.offset)?;
        if head == LONE_TIMESTAMPS {
            return Some([value, echo_reply]);
        }
    }
    let offset = frame.offer(options).timestamps_offset()?;
    Some(*frame.at(offset + 2)?)
}
