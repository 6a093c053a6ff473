//! The traffic of a day: floods, crowds, malformed frames, and clients that send and receive data.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown};

use fastrand::Rng;

use super::super::malformed::{BATCH, FRAMES};
use super::Site;
use super::ledger::total;
use crate::fixtures::crowd::connect_at_once;
use crate::fixtures::flood::{Flood, Kind};
use crate::fixtures::network::{HOST, HOST_V6};
use crate::fixtures::segment::Injector;
use crate::fixtures::until;

const KINDS: [fn(&Site, &mut Rng); 5] = [syn_flood, ack_flood, crowd, malformed_frames, conversations];

/// The number of clients in a crowd. Each connects to another port, so that the first crowd fills the port report.
const CROWD: u16 = 500;

const ECHO: u16 = 7;
const TARPIT: u16 = 23;
const PORTS: [u16; 5] = [ECHO, TARPIT, 25, 80, 443];
const ADDRESSES: [IpAddr; 3] = [IpAddr::V4(HOST), IpAddr::V6(HOST_V6), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1))];
const PAYLOADS: [&[u8]; 3] = [b"GET / HTTP/1.1\r\n\r\n", b"EHLO client\r\n", &[0; 1000]];

/// Causes traffic of each kind.
pub fn every_kind(site: &Site, random: &mut Rng) {
    KINDS.iter().for_each(|cause| cause(site, random));
}

/// Causes traffic of up to three kinds.
pub fn some(site: &Site, random: &mut Rng) {
    for _ in 0..random.u8(1..=3) {
        random.choice(KINDS).unwrap()(site, random);
    }
}

fn syn_flood(site: &Site, random: &mut Rng) {
    let port = random.choice(PORTS).unwrap();
    Flood::new(&site.network, Kind::Syn, port).send(random.u32(50_000..=300_000));
}

fn ack_flood(site: &Site, random: &mut Rng) {
    let port = random.choice(PORTS).unwrap();
    Flood::new(&site.network, Kind::Ack(random.u32(..)), port).send(random.u32(10_000..=50_000));
}

fn crowd(site: &Site, _: &mut Rng) {
    let connections = connect_at_once(&site.network, CROWD).connections;
    assert!(connections.iter().all(Result::is_ok), "{:?}", connections.iter().find(|connection| connection.is_err()));
}

fn malformed_frames(site: &Site, random: &mut Rng) {
    let start = random.usize(..FRAMES.len());
    send(site, FRAMES.iter().cycle().skip(start).take(2000));
}

/// Sends each malformed frame once.
pub fn every_malformed_frame(site: &Site) {
    send(site, FRAMES.iter());
}

/// Sends frames in batches for which a veth end has room.
fn send<'a>(site: &Site, frames: impl Iterator<Item = &'a Vec<u8>>) {
    let injector = Injector::new(&site.network.client, "client0");
    let arrived = || total(site.network.counters()) + site.network.lost();
    let (before, mut sent) = (arrived(), 0);
    for frame in frames {
        injector.send_frame(frame);
        sent += 1;
        if sent % BATCH as u64 == 0 {
            until("for the frames to arrive", || (arrived() >= before + sent).then_some(()));
        }
    }
}

/// Opens a few connections, and checks the answers to data.
fn conversations(site: &Site, random: &mut Rng) {
    for _ in 0..random.u8(10..=50) {
        let (address, port) = (random.choice(ADDRESSES).unwrap(), random.choice(PORTS).unwrap());
        let payload = random.choice(PAYLOADS).unwrap();
        let mut client = site.network.open(address, port);
        client.write_all(payload).unwrap();
        match port {
            ECHO => {
                let mut echo = vec![0; payload.len()];
                client.read_exact(&mut echo).unwrap();
                assert_eq!(echo, payload);
            }
            TARPIT => {}
            _ => {
                client.shutdown(Shutdown::Write).unwrap();
                assert_eq!(client.read(&mut [0]).unwrap(), 0);
            }
        }
    }
}
