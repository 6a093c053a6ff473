//! A TCP segment in a frame, and how a reply takes its place.

use core::marker::PhantomData;
use core::mem::swap;

use crate::config::ProgramConfig;
use crate::ethernet::Ethernet;
use crate::frame::Frame;
use crate::ip::{Ip, PROTOCOL_TCP, Span};
use crate::post_handshake::{Answer, MOST_ECHOED, SegmentVariables};
use crate::syn_ack::{Reply, SynAck};
use crate::tcp::Tcp;
use crate::tcp_options::{LinuxOptions, NOP, Options, SynOptions};
use zerocopy::byteorder::network_endian::{U16, U32};

/// Where in a frame there is a TCP segment. Headers are read where they are needed: what is kept must be spilled.
#[derive(Clone, Copy)]
pub struct Segment<I> {
    /// Where the IP header begins.
    pub ip_offset: usize,
    /// TCP header, options and payload.
    pub span: Span,
    /// Over what it came.
    pub ip: PhantomData<I>,
}

/// The addresses and the ports of a segment, as they lie in it: the kernel's `struct bpf_sock_tuple`.
/// Two words may be written as one, which the verifier wants to be aligned.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct FourTuple<I: Ip> {
    /// Source address.
    pub source: I::Words,
    /// Destination address.
    pub destination: I::Words,
    /// Source port.
    pub source_port: U16,
    /// Destination port.
    pub destination_port: U16,
}

impl<I: Ip> FourTuple<I> {
    /// Their length in bytes, without what the alignment adds.
    pub const LENGTH: usize = 2 * size_of::<I::Words>() + 2 * size_of::<U16>();
}

impl<I: Ip> Segment<I> {
    /// Its IP header.
    #[inline(always)]
    pub fn ip<'a, F: Frame>(&self, frame: &'a mut F) -> Option<&'a I> {
        frame.at(self.ip_offset).map(|ip| &*ip)
    }

    /// Its TCP header.
    #[inline(always)]
    pub fn tcp<'a, F: Frame>(&self, frame: &'a mut F) -> Option<&'a Tcp> {
        frame.at(self.span.offset).map(|tcp| &*tcp)
    }

    /// Its addresses and ports.
    #[inline(always)]
    pub fn four_tuple<F: Frame>(&self, frame: &mut F) -> Option<FourTuple<I>> {
        let ip = self.ip(frame)?;
        let (source, destination) = (I::words(ip.source()), I::words(ip.destination()));
        let Tcp { source_port, destination_port, .. } = *self.tcp(frame)?;
        Some(FourTuple { source, destination, source_port, destination_port })
    }

    /// What its header of this length says about the course of its connection.
    #[inline(always)]
    pub fn numbers<F: Frame>(&self, frame: &mut F, header_length: usize) -> Option<SegmentVariables> {
        let tcp = self.tcp(frame)?;
        Some(SegmentVariables {
            sequence_number: tcp.sequence_number.get(),
            acknowledgment_number: tcp.acknowledgment_number.get(),
            payload_length: (self.span.length - header_length) as u32,
            flags: tcp.flags,
            window: tcp.window.get(),
        })
    }

    /// Whether it has come as it was sent, as its checksum tells. It may also be that of the pseudo-header alone: then it has
    /// crossed no wire, and a NIC would have done the rest (Linux, `CHECKSUM_PARTIAL`).
    #[inline(always)]
    pub fn is_intact<F: Frame>(&self, frame: &mut F) -> Option<bool> {
        let ip = self.ip(frame)?;
        let addresses = I::sum(ip.source()) + I::sum(ip.destination());
        let pseudo_header = addresses.word([0, PROTOCOL_TCP]).word((self.span.length as u16).to_be_bytes());
        let checksum = self.tcp(frame)?.checksum;
        if checksum == pseudo_header.fold().to_ne_bytes() {
            return Some(true);
        }
        let sum = pseudo_header + frame.sum(self.span)?;
        Some(sum.fold() == u16::MAX)
    }

    /// Where its options lie, if its header has this length.
    #[inline(always)]
    pub const fn options(&self, header_length: usize) -> Span {
        Span { offset: self.span.offset + size_of::<Tcp>(), length: header_length - size_of::<Tcp>() }
    }

    /// What its options offer, if its header has this length.
    #[inline(always)]
    pub fn offer<F: Frame>(&self, frame: &mut F, header_length: usize) -> SynOptions {
        let options = self.options(header_length);
        LinuxOptions::offer_at(frame, options).unwrap_or_else(|| frame.offer(options))
    }

    /// Writes the SYN-ACK over this SYN; `None` if there is no room.
    #[inline(always)]
    pub fn write_syn_ack<F: Frame>(&self, frame: &mut F, reply: Reply, options: &Options) -> Option<()> {
        let options_offset = self.ip_offset + size_of::<SynAck<I>>();
        let ip = self.ip(frame)?;
        let (source, destination) = (ip.source(), ip.destination());
        // With IP options it may lie where the frame will be no more.
        let tcp = *self.tcp(frame)?;
        fit(frame, self.end(), options_offset + options.length())?;
        swap_macs(frame)?;
        *frame.at(self.ip_offset)? = SynAck::<I>::new(reply, source, destination, &tcp, options);
        options.write(frame, options_offset)
    }

    /// Writes `answer` over this segment, whose header has this length; `None` if there is no room. It is never longer.
    #[inline(always)]
    pub fn write_answer<F: Frame>(
        &self,
        frame: &mut F,
        header_length: usize,
        answer: Answer,
        options: &Options,
        config: &ProgramConfig,
    ) -> Option<()> {
        let tcp_offset = self.ip_offset + size_of::<I>();
        let options_offset = tcp_offset + size_of::<Tcp>();
        let options_end = options_offset + options.length();
        // The mask is for the verifier: it is never more than that.
        let payload = (answer.echoed & (MOST_ECHOED.next_power_of_two() - 1)) as usize;
        // What is sent back stays where it is. What there were of other options, IP's too, becomes padding.
        let payload_offset = if payload > 0 { self.span.offset + header_length } else { options_end };
        let data_offset = payload_offset - tcp_offset;
        if data_offset > Tcp::MAX_LENGTH {
            return None;
        }
        // With IP options they may lie where the frame will be no more.
        let Tcp { source_port, destination_port, .. } = *self.tcp(frame)?;
        let length = data_offset + payload;
        let end = tcp_offset + length;
        if payload == 0 {
            fit(frame, self.end(), end)?;
        } else if payload_offset + payload > frame.len() {
            // It lies where the program cannot read it, so it has no checksum for it.
            return None;
        } else if frame.len() != end || frame.holds(end + 1) {
            frame.resize(end)?;
        }

        swap_macs(frame)?;
        let ip: &mut I = frame.at(self.ip_offset)?;
        *ip = I::reply(ip.destination(), ip.source(), length as u16, config.ttl);
        *frame.at(tcp_offset)? = Tcp {
            source_port: destination_port,
            destination_port: source_port,
            sequence_number: U32::new(answer.sequence_number),
            acknowledgment_number: U32::new(answer.acknowledgment_number),
            data_offset: (data_offset as u8 / 4) << 4,
            flags: answer.flags,
            window: U16::new(answer.window),
            checksum: [0; 2],
            urgent_pointer: U16::new(0),
        };
        options.write(frame, options_offset)?;
        pad(frame, options_end, payload_offset)?;
        // The addresses of the pseudo-header lie right before.
        let addresses = 2 * size_of::<I::Address>();
        let sum = frame.sum(Span { offset: tcp_offset - addresses, length: addresses + length })?;
        let checksum = sum.word([0, PROTOCOL_TCP]).word((length as u16).to_be_bytes()).checksum();
        frame.at::<Tcp>(tcp_offset)?.checksum = checksum;
        Some(())
    }

    /// Where it ends.
    #[inline(always)]
    const fn end(&self) -> usize {
        self.span.offset + self.span.length
    }
}

/// Sends the frame back.
#[inline(always)]
fn swap_macs<F: Frame>(frame: &mut F) -> Option<()> {
    let ethernet = frame.at::<Ethernet>(0)?;
    swap(&mut ethernet.source, &mut ethernet.destination);
    Some(())
}

/// Fills TCP options from one offset to another with NOPs.
#[inline(always)]
fn pad<F: Frame>(frame: &mut F, from: usize, to: usize) -> Option<()> {
    type Word = [u8; 4];
    for index in 0..(Tcp::MAX_LENGTH - size_of::<Tcp>()) / size_of::<Word>() {
        let offset = from + index * size_of::<Word>();
        if offset >= to {
            break;
        }
        *frame.at::<Word>(offset)? = [NOP; 4];
    }
    Some(())
}

/// Makes `frame` hold a reply of `length` bytes, with nothing behind it of the request, whose datagram ends at
/// `request_end`.
///
/// A frame that is less than 24 bytes longer keeps its length. What will follow the reply, and maybe some bytes before, are
/// cleared: it becomes padding, which the receiver ignores (RFC 894). To change its length takes a helper call, which costs
/// more than all the rest where calls are guarded.
#[inline(always)]
fn fit<F: Frame>(frame: &mut F, request_end: usize, length: usize) -> Option<()> {
    type Word = [u8; 8];
    const WORD: usize = size_of::<Word>();
    let padding = frame.len().max(request_end).wrapping_sub(length);
    if padding == 0 {
        return Some(());
    }
    // What lies where the program cannot write goes only by that; and there the frame would grow.
    if padding >= 3 * WORD || request_end > frame.len() {
        if length > frame.len() && frame.holds(frame.len() + 1) {
            return None;
        }
        return frame.resize(length);
    }
    for offset in [length, length + WORD] {
        if let Some(word) = frame.at::<Word>(offset) {
            *word = Word::default();
        }
    }
    if !padding.is_multiple_of(WORD) {
        *frame.last::<Word>()? = Word::default();
    }
    Some(())
}
