//! Dumps of kernel objects over netlink (`netlink(7)`).

use std::convert::Infallible;
use std::io;
use std::mem;
use std::thread;
use std::time::Duration;

use netlink_packet_core::{
    NLA_HEADER_SIZE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr};

/// The maximum number of retries of an interrupted dump.
///
/// A dump is interrupted if the objects change meanwhile. Changes come in bursts, for example when a container engine
/// starts. The pause before the first retry is 1 ms, and each further pause is twice as long. The nine pauses add up to
/// half a second.
const RETRIES: u32 = 9;

/// A kernel object in a dump: the payload of a message, without the netlink header.
///
/// Numbers are in host byte order unless the layout of the message says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object(pub Vec<u8>);

impl NetlinkDeserializable for Object {
    type Error = Infallible;

    fn deserialize(_header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Infallible> {
        Ok(Self(payload.to_vec()))
    }
}

/// Returns all kernel objects that `request` selects, in the network namespace of the calling thread.
///
/// `protocol` is one of [`netlink_sys::protocols`].
///
/// # Errors
///
/// The error of the socket, or the error that the kernel reports; `Interrupted` if the objects changed during every
/// attempt; `InvalidData` if a message is truncated.
pub fn dump(protocol: isize, request: impl NetlinkSerializable) -> io::Result<Vec<Object>> {
    let request = serialize(request);
    for attempt in 0..RETRIES {
        match Stream::start(protocol, &request)?.all() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                thread::sleep(Duration::from_millis(1 << attempt));
            }
            received => return received,
        }
    }
    Stream::start(protocol, &request)?.all()
}

/// Starts a dump of the kernel objects that `request` selects, like [`dump`], but receives them bit by bit.
///
/// # Errors
///
/// The error of the socket.
pub fn stream(protocol: isize, request: impl NetlinkSerializable) -> io::Result<Stream> {
    Stream::start(protocol, &serialize(request))
}

/// Returns the message that requests a dump.
fn serialize(request: impl NetlinkSerializable) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
    message.finalize();
    let mut request = vec![0; message.buffer_len()];
    message.serialize(&mut request);
    request
}

/// Returns the attributes in `bytes`, each with its type (without flags) and its value.
///
/// An attribute with an invalid length ends the iteration.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(|attribute| {
        let attribute = attribute.ok()?;
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        Some((kind, attribute.into_inner().get(NLA_HEADER_SIZE..length)?))
    })
}

/// The objects of a dump, as received so far.
#[derive(Debug, Default)]
struct Dump {
    objects: Vec<Object>,
    /// Whether the objects changed during the dump (`NLM_F_DUMP_INTR`), so that some may be missing or listed twice.
    is_interrupted: bool,
}

/// A dump in progress, which yields the objects of one datagram at a time.
///
/// The kernel collects the next objects only when a datagram is received, so the dump can take any time. The last item
/// is an error of the kind `Interrupted` if the objects changed during the dump (`NLM_F_DUMP_INTR`).
pub struct Stream {
    socket: Socket,
    dump: Dump,
    is_done: bool,
}

impl Stream {
    /// Sends `request`, a complete message.
    ///
    /// # Errors
    ///
    /// The error of the socket.
    fn start(protocol: isize, request: &[u8]) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.send(request, 0)?;
        Ok(Self { socket, dump: Dump::default(), is_done: false })
    }

    /// Receives the whole dump.
    ///
    /// # Errors
    ///
    /// The first error that the iterator yields.
    fn all(self) -> io::Result<Vec<Object>> {
        let mut objects = Vec::new();
        for received in self {
            objects.extend(received?);
        }
        Ok(objects)
    }

    /// Receives the next datagram.
    ///
    /// # Errors
    ///
    /// The error of the socket, or of [`Dump::receive`]; `Interrupted` if the dump is complete, but the objects changed
    /// meanwhile.
    fn receive(&mut self) -> io::Result<Vec<Object>> {
        let (datagram, _) = self.socket.recv_from_full()?;
        self.is_done = self.dump.receive(&datagram)?;
        if self.is_done && self.dump.is_interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(mem::take(&mut self.dump.objects))
    }
}

impl Iterator for Stream {
    type Item = io::Result<Vec<Object>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let received = self.receive();
        self.is_done |= received.is_err();
        Some(received)
    }
}

impl Dump {
    /// Adds the objects in `datagram`. Returns whether the dump is complete.
    ///
    /// # Errors
    ///
    /// The kernel's error, in an `NLMSG_ERROR` or in the `NLMSG_DONE` of a dump that failed after it began. The kernel
    /// reports a missing `tcp_diag` module in an `NLMSG_DONE`. `InvalidData` if a message is truncated.
    fn receive(&mut self, datagram: &[u8]) -> io::Result<bool> {
        let mut rest = datagram;
        while !rest.is_empty() {
            let message = NetlinkMessage::<Object>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            self.is_interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
            match message.payload {
                NetlinkPayload::InnerMessage(object) => self.objects.push(object),
                NetlinkPayload::Done(done) if done.code < 0 => {
                    return Err(io::Error::from_raw_os_error(done.code.saturating_neg()));
                }
                NetlinkPayload::Done(_) => return Ok(true),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            // The kernel pads messages to four bytes (NLMSG_ALIGN).
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length.max(4)..).unwrap_or_default();
        }
        Ok(false)
    }
}

#[cfg(test)]
pub mod fake {
    //! Netlink attributes for the tests of this layer.

    /// Returns a netlink attribute, padded to four bytes.
    pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = 4 + value.len() as u16;
        let mut bytes = [&length.to_ne_bytes(), &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{NLMSG_DONE, NLMSG_ERROR};
    use nix::libc;

    use super::*;

    const OBJECT: u16 = libc::RTM_NEWLINK;

    /// Returns a netlink message: struct nlmsghdr and `payload`, padded to four bytes.
    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let length = 16 + payload.len() as u32;
        let mut bytes = [length.to_ne_bytes(), [0; 4], [0; 4], [0; 4]].concat();
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn code(code: i32) -> [u8; 4] {
        code.to_ne_bytes()
    }

    #[test]
    fn collects_objects_until_the_dump_is_done() {
        let mut dump = Dump::default();
        let first = [message(OBJECT, 0, b"odd length!"), message(OBJECT, 0, b"second")].concat();
        assert!(!dump.receive(&first).unwrap());
        assert!(dump.receive(&[message(OBJECT, 0, b"third"), message(NLMSG_DONE, 0, &code(0))].concat()).unwrap());
        let objects: Vec<&[u8]> = dump.objects.iter().map(|object| object.0.as_slice()).collect();
        assert_eq!(objects, [&b"odd length!"[..], b"second", b"third"]);
        assert!(!dump.is_interrupted);
    }

    #[test]
    fn reports_the_error_at_the_end_of_a_dump() {
        let error = Dump::default().receive(&message(NLMSG_DONE, 0, &code(-libc::ENOENT))).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn reports_the_refusal_of_a_dump() {
        // struct nlmsgerr: the error code and the header of the request.
        let refusal = [&code(-libc::EPERM)[..], &[0; 16]].concat();
        let error = Dump::default().receive(&message(NLMSG_ERROR, 0, &refusal)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn notices_an_interrupted_dump() {
        for flags in [[NLM_F_DUMP_INTR, 0], [0, NLM_F_DUMP_INTR]] {
            let mut dump = Dump::default();
            let datagram = [message(OBJECT, flags[0], b"one"), message(NLMSG_DONE, flags[1], &code(0))].concat();
            assert!(dump.receive(&datagram).unwrap());
            assert!(dump.is_interrupted, "{flags:?}");
        }
    }

    #[test]
    fn rejects_truncated_messages() {
        let whole = message(OBJECT, 0, b"payload");
        let error = Dump::default().receive(&whole[..whole.len() - 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn attributes_end_at_an_impossible_length() {
        // struct nlattr: length and type. The type of the second attribute has the flag NLA_F_NESTED, which must be
        // masked out.
        let attribute = |length: u16, kind: u16| [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        let good = [attribute(6, 1), b"ab\0\0".to_vec(), attribute(4, 0x8002)].concat();
        let expected = [(1, &b"ab"[..]), (2, b"")];
        assert_eq!(attributes(&good).collect::<Vec<_>>(), expected);
        for length in [0, 3, 9] {
            let bytes = [good.clone(), attribute(length, 3), vec![0; 4]].concat();
            assert_eq!(attributes(&bytes).collect::<Vec<_>>(), expected, "{length}");
        }
    }
}
