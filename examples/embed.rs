//! Answers on an interface, prints the first client events, and stops.
//!
//! Usage: `embed IFACE [EVENTS]`. It prints 10 events by default.

use tcp_bounce::{Config, Error, Observe, Run};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let interface = arguments.next().expect("usage: embed IFACE [EVENTS]");
    let limit = arguments.next().map_or(10, |limit| limit.parse().expect("EVENTS is a number"));

    let config = Config { observe: Observe { events: 1, ..Observe::default() }, ..Config::new([interface]) };
    let run = Run::start(&config)?;
    println!("answering");
    run.events().take(limit).for_each(|event| println!("{event}"));
    let counters = run.stop()?;
    println!("handshakes completed: {}", counters.completed());
    Ok(())
}
