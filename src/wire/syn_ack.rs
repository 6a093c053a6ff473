//! The reply to a SYN.

use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, transmute};

use crate::checksum::Sum;
use crate::config::Config;
use crate::ipv4::{Address, DONT_FRAGMENT, Ipv4, PROTOCOL_TCP};
use crate::tcp::{self, MssOption, Tcp};

/// A SYN-ACK over IPv4, from the IP header to its end.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SynAck {
    /// The IP header.
    pub ipv4: Ipv4,
    /// The TCP header.
    pub tcp: Tcp,
    /// The only option.
    pub mss: MssOption,
}

impl SynAck {
    const LENGTH: u16 = size_of::<Self>() as u16;
    const TCP_LENGTH: u16 = Self::LENGTH - size_of::<Ipv4>() as u16;

    /// The reply to the SYN `syn` that went from `source` to `destination`.
    ///
    /// It acknowledges the SYN alone: a client sends data that came with it again. The IP header is as Linux sends
    /// it: DF, and no identification.
    #[inline(always)]
    pub const fn new(config: &Config, source: Address, destination: Address, syn: &Tcp) -> Self {
        let acknowledgment_number = tcp::next(syn.sequence_number);
        let addresses = Sum::ZERO.words(source.0).words(destination.0);
        Self {
            ipv4: Ipv4 {
                version_ihl: Ipv4::VERSION_4_IHL_5,
                type_of_service: 0,
                total_length: U16::new(Self::LENGTH),
                identification: U16::new(0),
                flags_fragment_offset: U16::new(DONT_FRAGMENT),
                time_to_live: config.ttl,
                protocol: PROTOCOL_TCP,
                header_checksum: addresses.folded(config.ipv4_sum).checksum(),
                source_address: destination,
                destination_address: source,
            },
            tcp: Tcp {
                source_port: syn.destination_port,
                destination_port: syn.source_port,
                sequence_number: config.isn,
                acknowledgment_number,
                data_offset: ((Self::TCP_LENGTH / 4) as u8) << 4,
                flags: Tcp::SYN | Tcp::ACK,
                window: config.window,
                checksum: addresses
                    .folded(config.tcp_sum)
                    .word(syn.source_port.to_bytes())
                    .word(syn.destination_port.to_bytes())
                    .words(acknowledgment_number.to_bytes())
                    .checksum(),
                urgent_pointer: U16::new(0),
            },
            mss: MssOption::new(config.mss),
        }
    }

    /// The sums of what is the same in every reply, to be made once: of the IP header, and of the TCP pseudo-header
    /// and segment.
    pub(crate) const fn constant_sums(config: &Config) -> [u16; 2] {
        const ANY: Address = Address([0; 4]);
        const SYN: Tcp = Tcp { sequence_number: U32::new(u32::MAX), ..Tcp::ZERO };
        let mut reply = Self::new(config, ANY, ANY, &SYN);
        reply.ipv4.header_checksum = [0; 2];
        reply.tcp.checksum = [0; 2];

        let bytes: [u8; size_of::<Self>()] = transmute!(reply);
        let (ipv4, segment) = bytes.split_at(size_of::<Ipv4>());
        let [high, low] = Self::TCP_LENGTH.to_be_bytes();
        let pseudo_header = [0, PROTOCOL_TCP, high, low];
        [Sum::ZERO.bytes(ipv4).fold(), Sum::ZERO.bytes(&pseudo_header).bytes(segment).fold()]
    }
}
