//! The position of a TCP segment in a frame, and access to the segment's headers.

use core::marker::PhantomData;
use core::mem::offset_of;

use zerocopy::byteorder::network_endian::U16;

use crate::address::IpAddress;
use crate::event::Event;
use crate::frame::{Frame, Span};
use crate::ip::Ip;
use crate::tcp::Tcp;
use crate::verdict::Verdict;

/// The position of a TCP segment in a frame.
///
/// Methods read the headers from the frame each time. The compiler would spill cached fields to the stack.
#[derive(Clone, Copy)]
pub struct Segment<I> {
    /// The offset of the IP header from the start of the frame, in bytes.
    pub ip_offset: usize,
    /// The position of TCP header, options and payload.
    pub span: Span,
    ip: PhantomData<I>,
}

impl<I: Ip> Segment<I> {
    /// Returns the segment in `span` of the packet whose IP header is at `ip_offset`.
    #[inline(always)]
    pub const fn new(ip_offset: usize, span: Span) -> Self {
        Self { ip_offset, span, ip: PhantomData }
    }

    /// Returns the IP header.
    ///
    /// # Errors
    ///
    /// `Malformed` if the frame ends before the end of the IP header.
    #[inline(always)]
    pub fn ip<'a, F: Frame>(&self, frame: &'a mut F) -> Result<&'a I, Verdict> {
        match frame.at(self.ip_offset) {
            Some(ip) => Ok(ip),
            None => Err(Verdict::Malformed),
        }
    }

    /// Returns the TCP header.
    ///
    /// # Errors
    ///
    /// `Malformed` if the frame ends before the end of the TCP header.
    #[inline(always)]
    pub fn tcp<'a, F: Frame>(&self, frame: &'a mut F) -> Result<&'a Tcp, Verdict> {
        match frame.at(self.span.offset) {
            Some(tcp) => Ok(tcp),
            None => Err(Verdict::Malformed),
        }
    }

    /// Returns the bytes of the TCP header with the data offset and the flags, as one word in little-endian order.
    /// `None` if the frame ends before them.
    #[inline(always)]
    pub fn offset_and_flags<F: Frame>(&self, frame: &mut F) -> Option<u16> {
        frame.at(self.span.offset + offset_of!(Tcp, data_offset)).copied().map(u16::from_le_bytes)
    }

    /// Returns the length of the TCP header with options, in bytes.
    ///
    /// # Errors
    ///
    /// `Malformed` if the length is below 20 or exceeds the segment, or if the frame ends before the end of the TCP
    /// header.
    #[inline(always)]
    pub fn header_length<F: Frame>(&self, frame: &mut F) -> Result<usize, Verdict> {
        let header_length = self.tcp(frame)?.header_length();
        if header_length < size_of::<Tcp>() || header_length > self.span.length {
            return Err(Verdict::Malformed);
        }
        Ok(header_length)
    }

    /// Returns the span of the TCP options. `header_length` is the length of the TCP header with options, in bytes.
    #[inline(always)]
    pub const fn options(&self, header_length: usize) -> Span {
        Span { offset: self.span.offset + size_of::<Tcp>(), length: header_length - size_of::<Tcp>() }
    }

    /// Returns the offset of the first byte after the segment, from the start of the frame.
    #[inline(always)]
    pub const fn end(&self) -> usize {
        self.span.offset + self.span.length
    }

    /// Returns a number that identifies the connection, most likely. Each segment from the client gives the same
    /// number.
    ///
    /// # Errors
    ///
    /// `Malformed` if the frame ends before the end of the headers.
    #[inline(always)]
    pub fn id<F: Frame>(&self, frame: &mut F) -> Result<u64, Verdict> {
        let ip = self.ip(frame)?;
        let addresses = I::sum(ip.source()) + I::sum(ip.destination());
        let ports = u32::from_ne_bytes(self.tcp(frame)?.ports());
        Ok(addresses.0 ^ u64::from(ports) << 32)
    }

    /// Returns the addresses and ports.
    ///
    /// # Errors
    ///
    /// `Malformed` if the frame ends before the end of the headers.
    #[inline(always)]
    pub fn four_tuple<F: Frame>(&self, frame: &mut F) -> Result<FourTuple<I>, Verdict> {
        let ip = self.ip(frame)?;
        let (source, destination) = (ip.source().words(), ip.destination().words());
        let Tcp { source_port, destination_port, .. } = *self.tcp(frame)?;
        Ok(FourTuple { source, destination, source_port, destination_port })
    }

    /// Returns a client event with time and kind 0. The client is the source of this segment, or its destination if
    /// `is_reply`.
    ///
    /// # Errors
    ///
    /// `Malformed` if the frame ends before the end of the headers.
    #[inline(always)]
    pub fn event<F: Frame>(&self, frame: &mut F, is_reply: bool) -> Result<Event, Verdict> {
        let ip = self.ip(frame)?;
        let [mut source, mut destination] = [ip.source(), ip.destination()].map(I::Address::bits);
        let Tcp { mut source_port, mut destination_port, .. } = *self.tcp(frame)?;
        if is_reply {
            (source, destination) = (destination, source);
            (source_port, destination_port) = (destination_port, source_port);
        }
        Ok(Event { time: 0, source, destination, source_port, destination_port, kind: 0 })
    }
}

/// The addresses and ports of a segment, in the layout of the kernel's `struct bpf_sock_tuple`.
///
/// The verifier requires the alignment, because the compiler may merge two 32-bit stores into a 64-bit store.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct FourTuple<I: Ip> {
    /// Source address.
    pub source: <I::Address as IpAddress>::Words,
    /// Destination address.
    pub destination: <I::Address as IpAddress>::Words,
    /// Source port.
    pub source_port: U16,
    /// Destination port.
    pub destination_port: U16,
}

impl<I: Ip> FourTuple<I> {
    /// The length in bytes, without the padding at the end. It tells IPv4 from IPv6 in `bpf_skc_lookup_tcp`.
    pub const LENGTH: usize = 2 * size_of::<<I::Address as IpAddress>::Words>() + 2 * size_of::<U16>();
}
