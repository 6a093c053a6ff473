//! TCP segments in frames that go out as they are: also those that no kernel would send.

use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};

use etherparse::{PacketBuilder, TcpHeader};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, bind, send, socket};

use super::namespace::Namespace;

/// A MAC address.
pub type Mac = [u8; 6];

/// The flag SYN.
pub const SYN: u8 = 0x02;
/// The flag FIN.
pub const FIN: u8 = 0x01;
/// The flag RST.
pub const RST: u8 = 0x04;
/// The flag ACK.
pub const ACK: u8 = 0x10;

/// One end of a connection, as a segment names it.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// The MAC address.
    pub mac: Mac,
    /// The IP address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// A segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Whom it claims to come from.
    pub from: End,
    /// Where it goes to.
    pub to: End,
    /// The control bits.
    pub flags: u8,
    /// The sequence number.
    pub sequence_number: u32,
    /// The acknowledgment number, whatever the flags say.
    pub acknowledgment_number: u32,
    /// The data.
    pub payload: &'static [u8],
}

impl Segment {
    /// The frame, with all checksums.
    fn frame(&self) -> Vec<u8> {
        let mut tcp = TcpHeader::new(self.from.port, self.to.port, self.sequence_number, 64_240);
        tcp.acknowledgment_number = self.acknowledgment_number;
        let flags = [
            &mut tcp.fin,
            &mut tcp.syn,
            &mut tcp.rst,
            &mut tcp.psh,
            &mut tcp.ack,
            &mut tcp.urg,
            &mut tcp.ece,
            &mut tcp.cwr,
        ];
        for (bit, flag) in flags.into_iter().enumerate() {
            *flag = self.flags >> bit & 1 != 0;
        }
        let ethernet = PacketBuilder::ethernet2(self.from.mac, self.to.mac);
        let ip = match (self.from.address, self.to.address) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 64),
            (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), 64),
            _ => panic!("a segment has addresses of one kind: {self:?}"),
        };
        let mut frame = Vec::new();
        ip.tcp_header(tcp).write(&mut frame, self.payload).unwrap();
        frame
    }
}

/// A packet socket that sends, and receives nothing.
pub struct Injector(OwnedFd);

impl Injector {
    /// One that sends out of an interface.
    pub fn new(namespace: &Namespace, interface: &str) -> Self {
        namespace.enter(|| {
            let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).unwrap();
            let mut addresses = getifaddrs().unwrap().filter(|entry| entry.interface_name == interface);
            let address = addresses.find_map(|entry| entry.address.filter(|address| address.as_link_addr().is_some()));
            bind(socket.as_raw_fd(), &address.unwrap()).unwrap();
            Self(socket)
        })
    }

    /// Sends a segment.
    #[track_caller]
    pub fn send(&self, segment: &Segment) {
        self.send_frame(&segment.frame());
    }

    /// Sends a frame as it is.
    #[track_caller]
    pub fn send_frame(&self, frame: &[u8]) {
        assert_eq!(send(self.0.as_raw_fd(), frame, MsgFlags::empty()), Ok(frame.len()), "{frame:02x?}");
    }
}

/// The MAC address of an interface.
#[track_caller]
pub fn mac(namespace: &Namespace, interface: &str) -> Mac {
    let link = namespace.ip(&format!("link show dev {interface}"));
    let (_, rest) = link.split_once("link/ether ").unwrap();
    let bytes = rest.split_whitespace().next().unwrap().split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap());
    bytes.collect::<Vec<_>>().try_into().unwrap()
}

/// A MAC address as `ip` takes it.
pub fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
