//! The layout of a SYN-ACK up to the MSS option, and its constructor.

use core::ops::Add as _;

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::Sum;
use crate::interface::Advertised;
use crate::ip::{Ip, PROTOCOL_TCP};
use crate::reply_options::ReplyOptions;
use crate::tcp::{self, Tcp};
use crate::tcp_options::MssOption;

/// The part that all SYN-ACKs share: the headers and the MSS option. [`ReplyOptions`] follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SynAck<I: Unaligned> {
    /// The IP header.
    pub ip: I,
    /// The TCP header.
    pub tcp: Tcp,
    /// The MSS option, the first of the TCP options.
    pub mss: MssOption,
}

/// The fields of a SYN-ACK that [`SynAck::new`] does not derive from the SYN.
#[derive(Clone, Copy, Debug)]
pub struct SynAckFields<'a> {
    /// The initial sequence number.
    pub isn: U32,
    /// The TCP flags: SYN and ACK, with ECE if the SYN requests ECN.
    pub flags: u8,
    /// The flow label, over IPv6.
    pub flow_label: u32,
    /// The advertised MSS and windows, and the time to live.
    pub advertised: &'a Advertised,
}

impl<'a> SynAckFields<'a> {
    /// Returns the fields of a SYN-ACK without ECN and without a flow label.
    #[inline(always)]
    pub const fn new(isn: u32, advertised: &'a Advertised) -> Self {
        Self { isn: U32::new(isn), flags: Tcp::SYN | Tcp::ACK, flow_label: 0, advertised }
    }

    /// Returns these fields with additional TCP flags.
    #[inline(always)]
    pub const fn with_flags(self, flags: u8) -> Self {
        Self { flags: self.flags | flags, ..self }
    }
}

/// The properties of a SYN-ACK's options after the MSS option on which the headers depend.
#[derive(Clone, Copy, Debug)]
pub struct OptionSummary {
    /// The length in bytes.
    pub length: usize,
    /// Whether the options include timestamps.
    pub has_timestamps: bool,
    /// The sum of the options, for a checksum.
    pub sum: Sum,
}

impl<I: Ip> SynAck<I> {
    /// Returns the SYN-ACK that answers `syn`, a SYN from `source` to `destination`.
    ///
    /// The SYN-ACK acknowledges the SYN but no data in it. The client then retransmits this data.
    #[inline(always)]
    pub fn new(
        fields: SynAckFields,
        source: I::Address,
        destination: I::Address,
        syn: &Tcp,
        options: &ReplyOptions,
    ) -> Self {
        let (length, has_timestamps, sum) = (options.length(), options.has_timestamps(), options.sum());
        Self::with_options(fields, source, destination, syn, OptionSummary { length, has_timestamps, sum })
    }

    /// Returns the SYN-ACK that answers `syn`, like [`Self::new`], for any options that follow the MSS option.
    #[inline(always)]
    pub fn with_options(
        fields: SynAckFields,
        source: I::Address,
        destination: I::Address,
        syn: &Tcp,
        options: OptionSummary,
    ) -> Self {
        let length = (size_of::<Tcp>() + size_of::<MssOption>() + options.length) as u16;
        let acknowledgment_number = tcp::next(syn.sequence_number);
        let window =
            if options.has_timestamps { fields.advertised.window_with_timestamps } else { fields.advertised.window };
        let data_offset = (length / 4) as u8;
        let mss = fields.advertised.mss;
        // The checksum covers the pseudo-header, the TCP header and the options. The order of the words does not
        // matter.
        let checksum = (I::sum(source) + I::sum(destination))
            .word([0, PROTOCOL_TCP])
            .word(length.to_be_bytes())
            .word(syn.source_port.to_bytes())
            .word(syn.destination_port.to_bytes())
            .words(fields.isn.to_bytes())
            .words(acknowledgment_number.to_bytes())
            .word([data_offset << 4, fields.flags])
            .word(window.to_bytes())
            .words(mss.to_bytes())
            .add(options.sum)
            .checksum();
        Self {
            ip: I::reply(destination, source, length, fields.advertised.ttl, fields.flow_label),
            tcp: Tcp {
                source_port: syn.destination_port,
                destination_port: syn.source_port,
                sequence_number: fields.isn,
                acknowledgment_number,
                data_offset: data_offset << 4,
                flags: fields.flags,
                window,
                checksum,
                urgent_pointer: U16::new(0),
            },
            mss,
        }
    }
}
