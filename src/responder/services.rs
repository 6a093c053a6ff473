//! The tables of services and payloads that the program reads, made from a profile.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use tcp_bounce_wire::service::Reply;
use tcp_bounce_wire::{Block, Payload, Service, ServiceByPort};
use zerocopy::FromZeros as _;

use super::ResponderError;
use crate::config::{Profile, ServiceConfig};
use crate::xdp::loader::ServiceTables;

/// Returns the tables for `profile`, whose random ports `key` selects.
///
/// # Errors
///
/// [`ResponderError::OutOfMemory`] if the table of ports cannot be allocated.
pub fn tables(profile: &Profile, key: &[u8; 16]) -> Result<ServiceTables, ResponderError> {
    let Ok(mut by_port) = ServiceByPort::new_box_zeroed() else { return Err(ResponderError::OutOfMemory) };
    let mut services = Services::default();
    let shared: Vec<Option<u16>> =
        profile.services().iter().map(|it| (!it.depends_on_port()).then(|| services.add(it))).collect();
    for (port, index) in profile.ports(key) {
        let service = shared[index].unwrap_or_else(|| services.add(&profile.services()[index].on_port(port)));
        by_port.set(port, service);
    }
    // The kernel has no maps without entries.
    services.payloads.blocks.resize(services.payloads.blocks.len().max(1), Block([[0; 8]; Block::WORDS]));
    Ok(ServiceTables { services: services.services, by_port, blocks: services.payloads.blocks })
}

/// The services that were added so far. Equal services share an entry.
#[derive(Default)]
struct Services {
    services: Vec<Service>,
    indexes: HashMap<Service, u16>,
    payloads: Payloads,
}

impl Services {
    /// Adds a service, and returns its index.
    fn add(&mut self, config: &ServiceConfig) -> u16 {
        let replies = config.replies.iter().map(|reply| {
            let prefix = &reply.prefix;
            Reply::new(prefix.bytes(), prefix.mask(), self.payloads.add(&reply.payload))
        });
        let replies: Vec<Reply> = replies.collect();
        let service = Service::new(self.payloads.add(&config.banner), &replies, config.ending);
        match self.indexes.entry(service) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                // There are at most 65,536 ports, and each service has a port.
                let index = self.services.len() as u16;
                self.services.push(service);
                *entry.insert(index)
            }
        }
    }
}

/// The payloads that were added so far. Equal payloads share their blocks.
#[derive(Default)]
struct Payloads {
    blocks: Vec<Block>,
    payloads: HashMap<Vec<u8>, Payload>,
}

impl Payloads {
    /// Adds a payload, and returns its entry.
    fn add(&mut self, payload: &[u8]) -> Payload {
        if let Some(&own) = self.payloads.get(payload) {
            return own;
        }
        let own = Payload::new(payload, self.blocks.len() as u32);
        self.blocks.extend(Block::split(payload));
        self.payloads.insert(payload.to_vec(), own);
        own
    }
}

#[cfg(test)]
mod tests;
