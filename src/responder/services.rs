//! The tables of services and payloads that the program reads, made from a profile.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, RandomState};
use std::time::SystemTime;

use tcp_bounce_wire::service::Reply;
use tcp_bounce_wire::{Block, Fields, Payload, Service, ServiceByPort};
use zerocopy::FromZeros as _;

use super::ResponderError;
use crate::config::{PlaceholderValues, Profile, ServiceConfig, rfc_5322};
use crate::xdp::loader::ServiceTables;

/// Returns the tables for `profile`, whose random ports `key` selects. The date in payloads is that of `start`.
///
/// # Errors
///
/// [`ResponderError::OutOfMemory`] if the table of ports cannot be allocated.
pub fn tables(profile: &Profile, key: &[u8; 16], start: SystemTime) -> Result<ServiceTables, ResponderError> {
    let Ok(mut by_port) = ServiceByPort::new_box_zeroed() else { return Err(ResponderError::OutOfMemory) };
    let has_fields = profile.services().iter().any(ServiceConfig::has_fields);
    let mut services = Services::new(rfc_5322(start), has_fields);
    let shared: Vec<Option<u16>> =
        profile.services().iter().map(|it| (!it.depends_on_port()).then(|| services.add(it, 0))).collect();
    for (port, index) in profile.ports(key) {
        let service = shared[index].unwrap_or_else(|| services.add(&profile.services()[index], port));
        by_port.set(port, service);
    }
    // The kernel has no maps without entries.
    services.payloads.blocks.resize(services.payloads.blocks.len().max(1), Block([[0; 8]; Block::WORDS]));
    Ok(ServiceTables { services: services.services, by_port, blocks: services.payloads.blocks, has_fields })
}

/// The services that were added so far. Equal services share an entry.
struct Services {
    /// The date in payloads.
    date: String,
    /// The IP versions for which each service has an entry: IPv4 and IPv6, or one entry for both.
    are_v6: &'static [bool],
    services: Vec<Service>,
    indexes: HashMap<Vec<Service>, u16>,
    payloads: Payloads,
}

impl Services {
    /// Returns no services. If payloads have fields, services need an entry for each IP version, because the widths of
    /// fields differ.
    fn new(date: String, has_fields: bool) -> Self {
        let are_v6 = if has_fields { &[false, true] as &[_] } else { &[false] };
        Self { date, are_v6, services: Vec::new(), indexes: HashMap::new(), payloads: Payloads::default() }
    }

    /// Adds a service as `port` offers it, and returns its index.
    fn add(&mut self, config: &ServiceConfig, port: u16) -> u16 {
        let mut entries = Vec::with_capacity(self.are_v6.len());
        for &is_v6 in self.are_v6 {
            let values = PlaceholderValues { port, date: &self.date, is_v6 };
            let replies = config.replies.iter().map(|reply| {
                let prefix = &reply.prefix;
                Reply::new(prefix.bytes(), prefix.mask(), self.payloads.add(values.fill(&reply.payload)))
            });
            let replies: Vec<Reply> = replies.collect();
            entries.push(Service::new(self.payloads.add(values.fill(&config.banner)), &replies, config.ending));
        }
        // There are at most 65,536 ports, and each service has a port.
        let next = self.indexes.len() as u16;
        match self.indexes.entry(entries) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                self.services.extend_from_slice(entry.key());
                *entry.insert(next)
            }
        }
    }
}

/// The payloads that were added so far. Equal payloads share their blocks.
#[derive(Default)]
struct Payloads {
    blocks: Vec<Block>,
    /// The payloads by a hash of 128 bits, so that the map holds no second copy of their bytes.
    payloads: HashMap<[u64; 2], Payload>,
    hashers: [RandomState; 2],
}

impl Payloads {
    /// Adds a payload and its fields, and returns its entry.
    fn add(&mut self, payload: (Vec<u8>, Fields)) -> Payload {
        let hash = self.hashers.each_ref().map(|hasher| hasher.hash_one(&payload));
        *self.payloads.entry(hash).or_insert_with(|| {
            let (bytes, fields) = &payload;
            let own = Payload::new(bytes, *fields, self.blocks.len() as u32);
            self.blocks.extend(Block::split(bytes));
            own
        })
    }
}

#[cfg(test)]
mod tests;
