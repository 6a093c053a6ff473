//! Compares tcp-bounce with socket-based servers after the handshake.
//!
//! Each turn measures all servers, one after another, at one end of a veth pair. The report has the medians of the
//! turns. The client is the kernel's TCP, which takes most of the measured time on a small machine.

use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tcp_bounce::internals::XdpLink;
use tempfile::NamedTempFile;

use crate::fixtures::DEADLINE;
use crate::fixtures::command::TcpBounce;
use crate::fixtures::network::{HOST, Mode, Network};
use crate::fixtures::process::Process;
use crate::fixtures::programs::pass;
use crate::report::{Report, median, row};

const TURNS: usize = 5;
/// The amount of data that each discard server receives, in MiB.
const VOLUME: usize = 256;
/// The number of connections that each closing server accepts, from all clients together.
const CONNECTIONS: usize = 10_000;

const DISCARD: u16 = 9;

/// The banner of the servers that send one.
const BANNER: &[u8] = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n";

/// Measures servers that discard data, close connections, or send a banner and close.
pub fn report(report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.section(
        "After the handshake",
        "A server runs at one end of a veth pair, and the kernel's TCP is the client at the other. The server of the \
         standard library reads 64 KiB at a time. The ratio to its rate is in brackets.",
    );
    let servers = [Server::TcpBounce(Mode::Native), Server::TcpBounce(Mode::Skb), Server::Std, Server::Netcat];
    report.paragraph(&format!("Discard, {VOLUME} MiB over one connection, Gbit/s:"));
    table(report, &servers, &[Cable::Xdp, Cable::Segments, Cable::Bare], Cable::name, |server, cable| {
        if server.runs_on(cable) { discard(server, cable).map(Some) } else { Ok(None) }
    })?;
    report.paragraph(
        "The columns are kinds of cable. A veth end with an XDP program accepts only packets of one segment, and native replies \
         arrive only if the other end has a program, too. Without programs, a packet holds up to 64 KiB.",
    );

    report.paragraph(
        "Connections that the server closes first, thousands per second. In native mode, both ends have a program; \
         otherwise, neither end has one:",
    );
    let ratios = table(
        report,
        &servers[..3],
        &[1, 4],
        |clients| format!("clients: {clients}"),
        |server, clients| connections(server, clients, b"").map(Some),
    )?;
    for (server, ratios) in servers.iter().zip(&ratios).take(2) {
        let name = format!("{}: connections per second under `close`, four clients: of the std server", server.name());
        report.at_least(&name, 2.5, "", ratios[1]);
    }

    report.paragraph(&format!(
        "The same with a banner of {} bytes before the server closes: `--profile` against a listener that accepts each \
         connection and writes the banner, as portspoof does. Thousands of connections per second:",
        BANNER.len()
    ));
    table(
        report,
        &servers[..3],
        &[1, 4],
        |clients| format!("clients: {clients}"),
        |server, clients| connections(server, clients, BANNER).map(Some),
    )?;
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Server {
    TcpBounce(Mode),
    /// A server of a few lines with the standard library, which reads 64 KiB at a time.
    Std,
    /// `nc`, with its output to `/dev/null`.
    Netcat,
}

/// The setup of the veth pair.
#[derive(Clone, Copy, PartialEq)]
enum Cable {
    /// Both ends have an XDP program, so native replies arrive, and each packet has one segment.
    Xdp,
    /// No programs, and the client's kernel puts one segment into each packet.
    Segments,
    /// No programs, and a packet holds up to 64 KiB.
    Bare,
}

impl Server {
    fn name(self) -> String {
        match self {
            Self::TcpBounce(mode) => format!("tcp-bounce, {}", mode.name()),
            Self::Std => "standard library".to_owned(),
            Self::Netcat => "nc > /dev/null".to_owned(),
        }
    }

    /// Returns whether the server can be measured on this cable.
    ///
    /// tcp-bounce needs programs at both ends in native mode, and is measured without other programs in skb mode.
    fn runs_on(self, cable: Cable) -> bool {
        match self {
            Self::TcpBounce(mode) => (mode == Mode::Native) == (cable == Cable::Xdp),
            Self::Std | Self::Netcat => true,
        }
    }
}

impl Cable {
    fn name(self) -> String {
        match self {
            Self::Xdp => "XDP at both ends",
            Self::Segments => "segments",
            Self::Bare => "64 KiB packets",
        }
        .to_owned()
    }

    /// Creates a network with this cable.
    ///
    /// If the cable needs programs at both ends and the server has no program, attaches one that passes all packets.
    fn connect(self, server: Server) -> (Network, Option<XdpLink>) {
        let network = Network::new(if self == Self::Xdp { Mode::Native } else { Mode::Skb });
        if self == Self::Segments {
            network.client.run("ethtool", "-K client0 tso off gso off");
        }
        let has_program = matches!(server, Server::TcpBounce(_));
        let program = (self == Self::Xdp && !has_program).then(|| pass(&network.host, "host0"));
        (network, program)
    }
}

/// A running server. Dropping it ends the server's process, if it has one.
enum Running {
    TcpBounce { _process: TcpBounce },
    Std(Vec<JoinHandle<io::Result<()>>>),
    Netcat { _process: Process },
}

impl Running {
    /// Waits for the threads of [`Self::Std`]. Each one ends when all its connections have ended.
    fn finish(self) -> Result<(), Box<dyn Error>> {
        if let Self::Std(threads) = self {
            for thread in threads {
                thread.join().map_err(|_| "a server panicked")??;
            }
        }
        Ok(())
    }
}

/// Returns the rate at which `server` discards data, in Gbit/s.
fn discard(server: Server, cable: Cable) -> Result<f64, Box<dyn Error>> {
    let (network, _program) = cable.connect(server);
    let running = match server {
        Server::TcpBounce(_) => Running::TcpBounce { _process: network.start_responder("--on-connect discard") },
        Server::Std => {
            let listener = network.listen(DISCARD);
            Running::Std(vec![thread::spawn(move || {
                let (mut stream, _) = listener.accept()?;
                let mut buffer = vec![0; 64 << 10];
                while stream.read(&mut buffer)? > 0 {}
                Ok(())
            })])
        }
        Server::Netcat => {
            let mut command = network.host.command("nc.openbsd");
            command.args(["-n", "-v", "-l", &DISCARD.to_string()]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            let process = Process::start_as_is(&mut command);
            process.stderr.wait_for("Listening").ok_or("nc does not listen")?;
            Running::Netcat { _process: process }
        }
    };
    let mut stream = network.connect(DISCARD)?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let chunk = vec![0; 1 << 20];
    let start = Instant::now();
    for _ in 0..VOLUME {
        stream.write_all(&chunk)?;
    }
    stream.shutdown(Shutdown::Write)?;
    // The server closes once it has read everything.
    if stream.read(&mut [0])? != 0 {
        return Err("a discard server sent data".into());
    }
    let seconds = start.elapsed().as_secs_f64();
    running.finish()?;
    Ok((VOLUME * chunk.len() * 8) as f64 / seconds / 1e9)
}

/// Returns the rate at which `clients` clients open connections and read them to the end, in thousands per second.
/// `server` sends `banner` and closes.
fn connections(server: Server, clients: usize, banner: &'static [u8]) -> Result<f64, Box<dyn Error>> {
    let cable = if server == Server::TcpBounce(Mode::Native) { Cable::Xdp } else { Cable::Bare };
    let (network, _program) = cable.connect(server);
    network.client.sysctl("ipv4/ip_local_port_range", "1024 65535");
    let each = CONNECTIONS / clients;
    let mut profile = NamedTempFile::with_suffix(".toml")?;
    let text = String::from_utf8(banner.escape_ascii().collect())?;
    write!(profile, "[[service]]\nports = {DISCARD}\nbanner = \"{text}\"\nend = \"close\"\n")?;
    let running = match server {
        Server::TcpBounce(_) if banner.is_empty() => {
            Running::TcpBounce { _process: network.start_responder("--on-connect close") }
        }
        Server::TcpBounce(_) => {
            let profile = profile.path().display();
            Running::TcpBounce { _process: network.start_responder(&format!("--profile {profile}")) }
        }
        Server::Std | Server::Netcat => {
            let listener = network.listen(DISCARD);
            let accept = |listener: TcpListener| {
                thread::spawn(move || listener.incoming().take(each).try_for_each(|stream| stream?.write_all(banner)))
            };
            Running::Std((0..clients).map(|_| listener.try_clone().map(accept)).collect::<Result<_, _>>()?)
        }
    };
    let connect = || -> io::Result<()> {
        for _ in 0..each {
            let mut stream = TcpStream::connect((HOST, DISCARD))?;
            stream.set_read_timeout(Some(DEADLINE))?;
            let mut received = [0; 64];
            let mut length = 0;
            loop {
                match stream.read(&mut received[length..])? {
                    0 => break,
                    more => length += more,
                }
            }
            if received[..length] != *banner {
                return Err(io::Error::other("a server sent other data than its banner"));
            }
        }
        Ok(())
    };
    let start = Instant::now();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(|| network.client.enter(connect))).collect();
        clients.into_iter().try_for_each(|client| client.join().unwrap_or(Err(io::ErrorKind::Other.into())))
    })?;
    let seconds = start.elapsed().as_secs_f64();
    running.finish()?;
    Ok((each * clients) as f64 / seconds / 1e3)
}

/// Measures each server under the condition of each column, once in each turn. Reports the median rates, and in
/// brackets the median ratios to the rate of [`Server::Std`]. Returns the ratios, with NaN for an omitted measurement.
fn table<C: Copy>(
    report: &mut Report,
    servers: &[Server],
    columns: &[C],
    name: impl Fn(C) -> String,
    measure: impl Fn(Server, C) -> Result<Option<f64>, Box<dyn Error>>,
) -> Result<Vec<Vec<f64>>, Box<dyn Error>> {
    let mut rates = vec![vec![Vec::new(); columns.len()]; servers.len()];
    for _ in 0..TURNS {
        for (column, &condition) in columns.iter().enumerate() {
            for (row, &server) in servers.iter().enumerate() {
                rates[row][column].extend(measure(server, condition)?);
            }
        }
    }
    let base = servers.iter().position(|&server| server == Server::Std).ok_or("no server to compare with")?;
    let ratio = |(rates, base): (&Vec<f64>, &Vec<f64>)| {
        if rates.is_empty() { f64::NAN } else { median(rates.iter().zip(base).map(|(rate, base)| rate / base)) }
    };
    let ratios: Vec<Vec<_>> = rates.iter().map(|own| own.iter().zip(&rates[base]).map(ratio).collect()).collect();
    let cell = |(rates, ratio): (&Vec<f64>, &f64)| {
        if rates.is_empty() { "-".to_owned() } else { format!("{:.2} ({ratio:.2})", median(rates.iter().copied())) }
    };
    let figures = rates.iter().zip(&ratios).map(|(rates, ratios)| rates.iter().zip(ratios).map(cell));
    let rows = servers.iter().zip(figures).map(|(server, figures)| row(server.name(), figures));
    let columns: Vec<_> = columns.iter().map(|&column| name(column)).collect();
    let header: Vec<_> = std::iter::once("").chain(columns.iter().map(String::as_str)).collect();
    report.table(&header, rows);
    Ok(ratios)
}
