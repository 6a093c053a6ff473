//! What tcp-bounce follows while it runs.

use std::net::IpAddr;

use crate::cli::Cli;
use crate::error::Error;
use crate::interface::{self, Interface};
use crate::spared::Spared;

/// Interfaces, addresses and listeners of the host at one moment.
#[derive(Debug)]
pub struct Surroundings {
    /// All interfaces.
    pub interfaces: Vec<Interface>,
    /// All addresses, each with the index of its interface.
    pub addresses: Vec<(u32, IpAddr)>,
    /// The ports that are not answered.
    pub spared: Spared,
}

impl Surroundings {
    /// Those of this moment.
    pub fn now(cli: &Cli) -> Result<Self, Error> {
        Ok(Self {
            interfaces: Interface::all().map_err(Error::ListInterfaces)?,
            addresses: interface::addresses().map_err(Error::ListAddresses)?,
            spared: Spared::now(cli)?,
        })
    }
}
