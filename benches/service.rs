//! What a flood does to the host's own services.

use std::error::Error;
use std::time::Duration;

use crate::common::flood::{Flood, Kind, Sink};
use crate::common::network::{Mode, Network};
use crate::common::service::{Service, percentile};
use crate::report::{Report, row};

/// SYNs of a flood.
const SYNS: u32 = 5_000_000;
/// How long a client uses the service without one.
const USUAL: Duration = Duration::from_secs(2);

/// Measures how long a request to the host's own service takes.
pub fn report(report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.section(
        "The host's own service during a flood",
        "A client connects, says something and gets it back, again and again, while the cable that it uses carries as many SYNs from forged \
         sources as the kernel can send from one CPU. What a veth end has no room for it loses, and a client sends again after \
         0.2 seconds or a second.",
    );
    let mut rows = Vec::new();
    for mode in [Mode::Native, Mode::Skb] {
        let network = Network::without_program(mode);
        let _sink = Sink::new(&network);
        network.receive_redirected();
        let service = Service::new(&network);
        let _bouncer = network.bounce("");
        let flood = Flood::new(&network, Kind::Syn, 80);
        flood.send(1000);
        let (_, usual) = service.during(|| std::thread::sleep(USUAL));
        let (time, flooded) = service.during(|| flood.send(SYNS));
        let million = f64::from(SYNS) / 1e6 / time.as_secs_f64();
        let cases = [("without".to_owned(), usual), (format!("{million:.2} million SYNs per second"), flooded)];
        for (name, times) in cases {
            let shares =
                [0.5, 0.9, 0.99, 1.0].map(|share| format!("{:.3}", percentile(&times, share).as_secs_f64() * 1e3));
            rows.push(row(format!("{}, {name}", mode.name()), [times.len().to_string()].into_iter().chain(shares)));
        }
    }
    report.table(&["flood", "requests", "median, ms", "90 %", "99 %", "longest"], rows);
    Ok(())
}
