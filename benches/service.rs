//! Measures a service of the host itself during a SYN flood that tcp-bounce answers.

use std::error::Error;
use std::thread;
use std::time::Duration;

use crate::fixtures::flood::{Flood, Kind, Sink};
use crate::fixtures::host_service::{Service, percentile};
use crate::fixtures::network::{HOST, Mode, Network};
use crate::fixtures::programs::pass;
use crate::report::{Report, percent, rounded, row};

/// The number of SYNs in a flood.
const SYNS: u32 = 5_000_000;
/// The duration of the measurement without a flood.
const QUIET: Duration = Duration::from_secs(2);

/// Measures the rate and the duration of requests, with and without a flood.
pub fn report(report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.section(
        "The host's own service during a flood",
        "A client repeatedly connects, sends data and gets it back. Meanwhile an interface receives SYNs from forged \
         sources, as many as the kernel can send from one CPU. The client connects through the flooded interface, or \
         through another one on which tcp-bounce answers, too. A veth end has room for 256 packets and loses the rest, \
         and the client retransmits after 0.2 seconds or a second.",
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
            let _responder = network.start_responder("host1");
            let flood = Flood::new(&network, Kind::Syn, 80);
            flood.send(1000);
            let (_, quiet) = service.during(|| thread::sleep(QUIET));
            let lost = network.lost();
            let (time, flooded) = service.during(|| flood.send(SYNS));
            let million = f64::from(SYNS) / 1e6 / time.as_secs_f64();
            let lost = (network.lost() - lost) as f64 / f64::from(SYNS);
            let place = if is_same { "the same interface" } else { "another interface" };
            let flood = format!("{million:.2} million SYNs/s, {} of them lost", percent(lost));
            for (name, times, during) in [("no flood".to_owned(), quiet, QUIET), (flood, flooded, time)] {
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
