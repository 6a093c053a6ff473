//! The TCP options of a reply.

use zerocopy::byteorder::network_endian::U32;

use crate::checksum::Sum;
use crate::frame::{Frame, Span};
use crate::host::Host;
use crate::syn_options::SynOptions;
use crate::tcp_options::{LONE_SACK, LONE_TIMESTAMPS, NOP, SACK_AND_TIMESTAMPS, TimestampsOption, WINDOW_SCALE};

/// The options of a reply, in Linux's order. In a SYN-ACK, they follow the MSS option.
#[derive(Clone, Copy, Debug)]
pub struct ReplyOptions {
    /// The client's options that the reply accepts. Their TSval becomes the reply's TSecr.
    accepted: SynOptions,
    /// The TSval of the reply.
    timestamp: u32,
    window_scale: u8,
}

impl ReplyOptions {
    /// Returns the options of a SYN-ACK, which accepts all options of the SYN. `now` returns the SYN-ACK's
    /// TSval.
    #[inline(always)]
    pub fn for_syn(syn_options: SynOptions, window_scale: u8, now: impl Fn() -> u32) -> Self {
        let timestamp = if syn_options.timestamp().is_some() { now() } else { 0 };
        Self { accepted: syn_options, timestamp, window_scale }
    }

    /// Returns the options of a reply to a later segment, whose options are in `span`. The reply swaps the TSval and
    /// TSecr of the segment.
    ///
    /// The client echoes the latest TSval that it saw (RFC 7323, 3.2) and rejects older values (5.3). The echoed value
    /// stays valid even if the host's clock is reset, for example by a restart of the host with the same key.
    #[inline(always)]
    pub fn for_later_segment<F: Frame, H: Host>(frame: &mut F, span: Span, host: &H) -> Self {
        let (accepted, timestamp) = match find_timestamps(frame, span, host) {
            Some([value, echo_reply]) => (SynOptions::with_timestamp(value.get()), echo_reply.get()),
            None => (SynOptions::NONE, 0),
        };
        Self { accepted, timestamp, window_scale: 0 }
    }

    /// Returns these options with a TSval that is larger by `offset`.
    #[inline(always)]
    pub const fn with_timestamp_offset(self, offset: u32) -> Self {
        Self { timestamp: self.timestamp.wrapping_add(offset), ..self }
    }

    /// Returns these options without the window scale option.
    #[inline(always)]
    pub const fn without_window_scale(self) -> Self {
        Self { accepted: self.accepted.without_window_scale(), ..self }
    }

    /// Returns the client's options that the reply accepts.
    #[inline(always)]
    pub const fn accepted(&self) -> SynOptions {
        self.accepted
    }

    /// Returns TSval and TSecr, if there is a timestamps option.
    #[inline(always)]
    pub fn timestamps(&self) -> Option<[U32; 2]> {
        self.accepted.timestamp().map(|echo_reply| [U32::new(self.timestamp), U32::new(echo_reply)])
    }

    /// Returns the length of the options in bytes.
    #[inline(always)]
    pub const fn length(&self) -> usize {
        (if self.has_timestamps() { size_of::<TimestampsOption>() } else { 0 })
            + (if self.has_lone_sack() { size_of_val(&LONE_SACK) } else { 0 })
            + (if self.has_window_scale() { size_of::<[u8; 4]>() } else { 0 })
    }

    /// Returns whether the options include timestamps.
    #[inline(always)]
    pub const fn has_timestamps(&self) -> bool {
        self.accepted.timestamp().is_some()
    }

    /// Returns whether the options include a window scale.
    #[inline(always)]
    pub const fn has_window_scale(&self) -> bool {
        self.accepted.has_window_scale()
    }

    /// Returns whether SACK permitted takes a separate 32-bit word, because there is no timestamps option to share a
    /// word with.
    #[inline(always)]
    const fn has_lone_sack(&self) -> bool {
        self.accepted.has_sack() && !self.has_timestamps()
    }

    #[inline(always)]
    const fn timestamps_head(&self) -> [u8; 4] {
        if self.accepted.has_sack() { SACK_AND_TIMESTAMPS } else { LONE_TIMESTAMPS }
    }

    #[inline(always)]
    const fn window_scale(&self) -> [u8; 4] {
        // Computed as one word. The compiler would store an array byte by byte.
        (u32::from_le_bytes([NOP, WINDOW_SCALE, 3, 0]) | (self.window_scale as u32) << 24).to_le_bytes()
    }

    /// Returns the sum of the options, for a checksum.
    #[inline(always)]
    pub fn sum(&self) -> Sum {
        let mut sum = Sum::ZERO;
        if let Some(echo_reply) = self.accepted.timestamp() {
            sum = sum.words(self.timestamps_head()).words(self.timestamp.to_be_bytes()).words(echo_reply.to_be_bytes());
        }
        if self.has_lone_sack() {
            sum = sum.words(LONE_SACK);
        }
        if self.accepted.has_window_scale() {
            sum = sum.words(self.window_scale());
        }
        sum
    }

    /// Writes the options at `offset`. Returns `None` if the frame is too short.
    #[inline(always)]
    pub fn write<F: Frame>(&self, frame: &mut F, mut offset: usize) -> Option<()> {
        if let Some(echo_reply) = self.accepted.timestamp() {
            *frame.at(offset)? = TimestampsOption {
                head: self.timestamps_head(),
                value: U32::new(self.timestamp),
                echo_reply: U32::new(echo_reply),
            };
            offset += size_of::<TimestampsOption>();
        }
        if self.has_lone_sack() {
            *frame.at(offset)? = LONE_SACK;
            offset += size_of_val(&LONE_SACK);
        }
        if self.accepted.has_window_scale() {
            *frame.at(offset)? = self.window_scale();
        }
        Some(())
    }
}

/// Returns the TSval and TSecr of the timestamps option in `span`, if there is one.
#[inline(always)]
fn find_timestamps<F: Frame, H: Host>(frame: &mut F, span: Span, host: &H) -> Option<[U32; 2]> {
    if span.length == size_of::<TimestampsOption>() {
        let TimestampsOption { head, value, echo_reply } = *frame.at(span.offset)?;
        if head == LONE_TIMESTAMPS {
            return Some([value, echo_reply]);
        }
    }
    let offset = host.parse_options(frame, span).timestamps_offset()?;
    Some(*frame.at(offset + 2)?)
}
