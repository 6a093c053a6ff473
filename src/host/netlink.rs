//! Questions to the kernel by netlink.

use std::io;
use std::thread;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};

/// Asks the kernel for all objects that `request` describes.
///
/// `protocol` is one of [`netlink_sys::protocols`]. What is asked for is in the network namespace of the calling
/// thread.
pub fn dump<T>(protocol: isize, request: T) -> io::Result<Vec<T>>
where
    T: NetlinkSerializable + NetlinkDeserializable + Clone,
{
    // What changes while it is told may be told wrong, and the kernel says so. Changes come in crowds, as when a container
    // engine starts: each pause is longer than the one before, and all together take half a second.
    for attempt in 0..9 {
        if let Some(objects) = try_dump(protocol, request.clone())? {
            return Ok(objects);
        }
        thread::sleep(Duration::from_millis(1 << attempt));
    }
    try_dump(protocol, request)?.ok_or_else(|| io::ErrorKind::Interrupted.into())
}

/// One attempt at [`dump`]; `None` if something changed meanwhile.
fn try_dump<T>(protocol: isize, request: T) -> io::Result<Option<Vec<T>>>
where
    T: NetlinkSerializable + NetlinkDeserializable,
{
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;

    let mut objects = Vec::new();
    let mut interrupted = false;
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<T>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
            match message.payload {
                NetlinkPayload::InnerMessage(object) => objects.push(object),
                NetlinkPayload::Done(_) => return Ok((!interrupted).then_some(objects)),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            // Messages are padded to four bytes (NLMSG_ALIGN).
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length.max(4)..).unwrap_or_default();
        }
    }
}
