//! What a flood does to the host's own services.

use std::error::Error;
use std::thread;
use std::time::Duration;

use crate::fixtures::flood::{Flood, Kind, Sink};
use crate::fixtures::host_service::{Service, percentile};
use crate::fixtures::network::{HOST, Mode, Network};
use crate::fixtures::programs::pass;
use crate::report::{Report, percent, rounded, row};

/// SYNs of a flood.
const SYNS: u32 = 5_000_000;
/// How long a client uses the service without one.
const USUAL: Duration = Duration::from_secs(2);

/// Measures how long a request to the host's own service takes.
pub fn report(report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.section(
        "The host's own service during a flood",
        "A client connects, says something and gets it back, again and again, while an interface gets as many SYNs from forged sources as the \
         kernel can send from one CPU: a client at the same interface, and one at another, where tcp-bounce answers as well. A veth end \
         has room for 256 packets, loses the rest, and the client sends again after 0.2 seconds or a second.",
    );
    let mut rows = Vec::new();
    for mode in [Mode::Native, Mode::Skb] {
        for is_same in [true, false] {
            let network = Network::without_program(mode);
            let _sink = Sink::new(&network);
            network.receive_redirected();
            let other = network.add_cable();
            let _pass = (mode == Mode::Native).then(|| pass(&network.client, "client1"));
            let service = Service::new(&network, if is_same { HOST } else { other });
            let _bouncer = network.start_responder("host1");
            let flood = Flood::new(&network, Kind::Syn, 80);
            flood.send(1000);
            let (_, usual) = service.during(|| thread::sleep(USUAL));
            let lost = network.lost();
            let (time, flooded) = service.during(|| flood.send(SYNS));
            let million = f64::from(SYNS) / 1e6 / time.as_secs_f64();
            let lost = (network.lost() - lost) as f64 / f64::from(SYNS);
            let place = if is_same { "the same interface" } else { "another interface" };
            let flood = format!("{million:.2} million SYNs/s, {} of them lost", percent(lost));
            for (name, times, during) in [("no flood".to_owned(), usual, USUAL), (flood, flooded, time)] {
                let ms = |share| format!("{:.3}", percentile(&times, share).as_secs_f64() * 1e3);
                let rate = rounded(times.len() as f64 / during.as_secs_f64());
                let figures = [rate].into_iter().chain([0.5, 0.9, 0.99, 1.0].map(ms));
                rows.push(row(format!("{}, {place}, {name}", mode.name()), figures));
            }
        }
    }
    report.table(&["", "requests/s", "median, ms", "90 %", "99 %", "longest"], rows);
    Ok(())
}
