//! The options of SYN-ACKs in the order of any system, prepared for the program to copy.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::checksum::Sum;
use crate::reply_style::OptionOrder;
use crate::syn_options::SynOptions;
use crate::tcp_options::{
    LAST_SACK, LONE_SACK, LONE_TIMESTAMPS, NOP, SACK_AND_TIMESTAMPS, TimestampsOption, WINDOW_SCALE,
};

/// A 32-bit word of a TCP header.
type Word = [u8; 4];

/// The options of a SYN-ACK after the MSS option. TSval and TSecr are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OptionBlock {
    words: [Word; Self::MAX_WORDS],
    /// The sum of the words, for a checksum.
    sum: u16,
    /// The length in bytes.
    length: u8,
    /// The offset of the TSval from the start of the block, in bytes, or 0 without timestamps.
    timestamp_offset: u8,
}

impl OptionBlock {
    /// The number of words in the longest block: window scale, SACK permitted and timestamps, each with padding.
    pub const MAX_WORDS: usize = 5;

    /// The block without options.
    const EMPTY: Self = Self { words: [[0; 4]; Self::MAX_WORDS], sum: 0, length: 0, timestamp_offset: 0 };

    /// Returns the options that accept `accepted`, in this order. `scale` is the window scale, as a shift count.
    const fn new(order: OptionOrder, accepted: SynOptions, scale: u8) -> Self {
        let (has_sack, has_timestamps) = (accepted.has_sack(), accepted.timestamp().is_some());
        let mut block = Self::EMPTY;
        if matches!(order, OptionOrder::OpenBsd) && has_sack {
            block = block.with(LONE_SACK);
        }
        if !matches!(order, OptionOrder::Linux) && accepted.has_window_scale() {
            block = block.with([NOP, WINDOW_SCALE, 3, scale]);
        }
        if has_timestamps {
            let shares_word = has_sack && !matches!(order, OptionOrder::MacOs | OptionOrder::OpenBsd);
            block = block.with(if shares_word { SACK_AND_TIMESTAMPS } else { LONE_TIMESTAMPS });
            block.timestamp_offset = block.length;
            block = block.with([0; 4]).with([0; 4]);
        }
        match order {
            OptionOrder::MacOs if has_sack => block = block.with(LAST_SACK),
            OptionOrder::FreeBsd if has_sack && !has_timestamps => block = block.with(LAST_SACK),
            OptionOrder::Linux | OptionOrder::Windows if has_sack && !has_timestamps => block = block.with(LONE_SACK),
            _ => {}
        }
        if matches!(order, OptionOrder::Linux) && accepted.has_window_scale() {
            block = block.with([NOP, WINDOW_SCALE, 3, scale]);
        }
        block
    }

    /// Returns this block with `word` added.
    const fn with(mut self, word: Word) -> Self {
        self.words[self.length as usize / size_of::<Word>()] = word;
        self.length += size_of::<Word>() as u8;
        self.sum = Sum(self.sum as u64).words(word).fold();
        self
    }

    /// Returns the words. Only the first [`Self::length`] bytes count.
    #[inline(always)]
    pub const fn words(&self) -> &[Word; Self::MAX_WORDS] {
        &self.words
    }

    /// Returns the length in bytes, at most 28. The verifier knows this bound.
    #[inline(always)]
    pub const fn length(&self) -> usize {
        (self.length & 0x1c) as usize
    }

    /// Returns the offset of the TSval from the start of the block, at most 28 bytes. The verifier knows this bound.
    #[inline(always)]
    pub const fn timestamp_offset(&self) -> usize {
        (self.timestamp_offset & 0x1c) as usize
    }

    /// Returns the sum of the words, for a checksum.
    #[inline(always)]
    pub const fn sum(&self) -> Sum {
        Sum(self.sum as u64)
    }
}

const _: () =
    assert!(OptionBlock::MAX_WORDS * size_of::<Word>() == size_of::<TimestampsOption>() + 2 * size_of::<Word>());

/// A block of options for each combination of options that a SYN-ACK may accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OptionBlocks([OptionBlock; SynOptions::COMBINATIONS]);

impl OptionBlocks {
    /// Returns the blocks in this order of options. `scale` is the window scale, as a shift count.
    pub(crate) const fn new(order: OptionOrder, scale: u8) -> Self {
        let mut blocks = [OptionBlock::EMPTY; SynOptions::COMBINATIONS];
        let mut index = 0;
        while index < blocks.len() {
            blocks[index] = OptionBlock::new(order, SynOptions::of_combination(index), scale);
            index += 1;
        }
        Self(blocks)
    }

    /// Returns the block that accepts `accepted`.
    #[inline(always)]
    pub const fn accepting(&self, accepted: SynOptions) -> &OptionBlock {
        &self.0[accepted.combination()]
    }
}
