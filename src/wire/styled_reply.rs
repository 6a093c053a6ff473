//! Writes SYN-ACKs and IPv4 headers in the style of a system other than Linux.

use zerocopy::byteorder::network_endian::U32;

use crate::frame::Frame;
use crate::host::Host;
use crate::ip::Ip;
use crate::option_block::OptionBlock;
use crate::policy::Policy;
use crate::reply::{fit, swap_macs};
use crate::reply_options::ReplyOptions;
use crate::segment::Segment;
use crate::syn_ack::{OptionSummary, SynAck, SynAckFields};

/// The shift from milliseconds to rising identifications, which count units of 32 ms.
///
/// nmap calls identifications incremental if they rise by less than 10 between two probes. It sends a probe every 100
/// ms, so they rise by 3 or 4.
const MILLISECONDS_SHIFT: u32 = 5;

/// The options of a SYN-ACK in the order of a style.
struct StyledOptions<'a> {
    block: &'a OptionBlock,
    /// TSval and TSecr, if there is a timestamps option.
    timestamps: Option<[U32; 2]>,
}

impl StyledOptions<'_> {
    /// Returns the properties on which the headers depend.
    #[inline(always)]
    fn summary(&self) -> OptionSummary {
        let mut sum = self.block.sum();
        if let Some([value, echo_reply]) = self.timestamps {
            sum = sum.words(value.to_bytes()).words(echo_reply.to_bytes());
        }
        OptionSummary { length: self.block.length(), has_timestamps: self.timestamps.is_some(), sum }
    }

    /// Writes the options at `offset`. Returns `None` if the frame is too short.
    #[inline(always)]
    fn write<F: Frame>(&self, frame: &mut F, offset: usize) -> Option<()> {
        for (index, word) in self.block.words().iter().enumerate() {
            let start = index * size_of_val(word);
            if start >= self.block.length() {
                break;
            }
            *frame.at(offset + start)? = *word;
        }
        if let Some(timestamps) = self.timestamps {
            *frame.at(offset + self.block.timestamp_offset())? = timestamps;
        }
        Some(())
    }
}

impl<I: Ip> Segment<I> {
    /// Writes the SYN-ACK over this SYN, in the style of the interface. Returns `None` if the frame has no room for it.
    #[inline(always)]
    pub fn write_styled_syn_ack<F: Frame, H: Host>(
        &self,
        frame: &mut F,
        mut fields: SynAckFields,
        options: &ReplyOptions,
        policy: &Policy<H>,
    ) -> Option<()> {
        let Policy { interface, host, .. } = policy;
        let block = interface.option_blocks.accepting(options.accepted());
        let options = StyledOptions { block, timestamps: options.timestamps() };
        let options_offset = self.ip_offset + size_of::<SynAck<I>>();
        let (ip, tcp) = (*self.ip(frame).ok()?, *self.tcp(frame).ok()?);
        let (source, destination) = (ip.source(), ip.destination());
        if I::HAS_FLOW_LABEL {
            let addresses = I::sum(source) + I::sum(destination);
            fields.flow_label = host.flow_label(&interface.flow_labels, ip.flow_label(), addresses, tcp.ports());
        }
        fit(frame, self.end(), options_offset + options.block.length())?;
        swap_macs(frame)?;
        *frame.at(self.ip_offset)? = SynAck::<I>::with_options(fields, source, destination, &tcp, options.summary());
        options.write(frame, options_offset)?;
        self.apply_style(frame, fields.isn.get(), policy)
    }

    /// Gives the IPv4 header of the reply that was written over this segment the identification and the DF flag of the
    /// style. Changes nothing over IPv6, and in the style of Linux.
    ///
    /// `sequence_number` is the sequence number of the reply. Returns `None` if the IP header is not accessible.
    #[inline(always)]
    pub fn apply_style<F: Frame, H: Host>(
        &self,
        frame: &mut F,
        sequence_number: u32,
        policy: &Policy<H>,
    ) -> Option<()> {
        let Policy { features, interface, host, .. } = policy;
        if !features.has_style() || I::HAS_FLOW_LABEL {
            return Some(());
        }
        let identification = if features.has_rising_identification() {
            interface.identification_offset.wrapping_add((host.now() >> MILLISECONDS_SHIFT) as u16)
        } else if features.has_random_identification() {
            scramble(sequence_number ^ host.now())
        } else {
            0
        };
        frame.at::<I>(self.ip_offset)?.set_identification(identification, !features.may_fragment());
        Some(())
    }
}

/// Returns a number without visible relation to `number`, which varies between connections and with time.
#[inline(always)]
const fn scramble(number: u32) -> u16 {
    // The upper bits of the product depend on all bits of the factor.
    (number.wrapping_mul(0x9e37_79b1) >> 16) as u16
}
