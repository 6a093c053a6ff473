//! What it is worth after the handshake to have no sockets.
//!
//! tcp-bounce and servers with sockets take turns at the end of a veth pair, and the median of a few turns counts. The
//! client is the kernel's TCP, and on a small machine most of what is measured is the client.

use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tcp_bounce::internals::XdpLink;

use crate::fixtures::DEADLINE;
use crate::fixtures::command::TcpBounce;
use crate::fixtures::network::{HOST, Mode, Network};
use crate::fixtures::process::Process;
use crate::fixtures::programs::pass;
use crate::report::{Report, median, row};

const TURNS: usize = 5;
/// How much is sent, in MiB.
const VOLUME: usize = 256;
/// How many connections are made.
const CONNECTIONS: usize = 10_000;

const DISCARD: u16 = 9;

/// Measures servers that discard and servers that close.
pub fn report(report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.section(
        "After the handshake",
        "A server at one end of a veth pair, and the kernel's TCP at the other. The server of the standard library reads 64 KiB at a \
         time; in brackets, how many times its rate.",
    );
    let servers = [Server::Bounce(Mode::Native), Server::Bounce(Mode::Skb), Server::Std, Server::Netcat];
    report.paragraph(&format!("Discard, {VOLUME} MiB over one connection, Gbit/s:"));
    table(report, &servers, &[Cable::Xdp, Cable::Segments, Cable::Bare], Cable::name, |server, cable| {
        if server.runs_on(cable) { discard(server, cable).map(Some) } else { Ok(None) }
    })?;
    report.paragraph(
        "The columns are kinds of cable. A veth end that has an XDP program takes packets of one segment only, and native replies arrive \
         only if the other end has a program too. Without programs a packet is what the client's kernel makes it, up to 64 KiB.",
    );

    let clients = [1, 2 * thread::available_parallelism()?.get()];
    report.paragraph("Connect, be closed, close; thousands of connections per second, with XDP at both ends in native mode, else with none:");
    table(
        report,
        &servers[..3],
        &clients,
        |clients| format!("clients: {clients}"),
        |server, clients| close(server, clients).map(Some),
    )
}

/// Who answers.
#[derive(Clone, Copy, PartialEq)]
enum Server {
    /// tcp-bounce.
    Bounce(Mode),
    /// A few lines with the standard library, which read 64 KiB at a time.
    Std,
    /// `nc` into /dev/null.
    Netcat,
}

/// How packets get from one end of the pair to the other.
#[derive(Clone, Copy, PartialEq)]
enum Cable {
    /// With an XDP program at both ends, so that native replies arrive: a packet has one segment.
    Xdp,
    /// With none, and the client does not put more than one segment into a packet.
    Segments,
    /// With none: a packet has up to 64 KiB.
    Bare,
}

impl Server {
    fn name(self) -> String {
        match self {
            Self::Bounce(mode) => format!("tcp-bounce, {}", mode.name()),
            Self::Std => "standard library".to_owned(),
            Self::Netcat => "nc > /dev/null".to_owned(),
        }
    }

    /// In native mode it makes a cable the first kind, and in skb mode it is for the others.
    fn runs_on(self, cable: Cable) -> bool {
        match self {
            Self::Bounce(mode) => (mode == Mode::Native) == (cable == Cable::Xdp),
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

    /// A network with such a cable, and the program at the host's end if `server` is none.
    fn connect(self, server: Server) -> (Network, Option<XdpLink>) {
        let network = Network::new(if self == Self::Xdp { Mode::Native } else { Mode::Skb });
        if self == Self::Segments {
            network.client.run("ethtool", "-K client0 tso off gso off");
        }
        let is_program = matches!(server, Server::Bounce(_));
        let program = (self == Self::Xdp && !is_program).then(|| pass(&network.host, "host0"));
        (network, program)
    }
}

/// What ends when it is dropped.
enum Running {
    Bounce { _process: TcpBounce },
    Std(Vec<JoinHandle<io::Result<()>>>),
    Netcat { _process: Process },
}

impl Running {
    /// Waits for those that end by themselves.
    fn finish(self) -> Result<(), Box<dyn Error>> {
        if let Self::Std(threads) = self {
            for thread in threads {
                thread.join().map_err(|_| "a server panicked")??;
            }
        }
        Ok(())
    }
}

/// Gbit/s of data that `server` takes.
fn discard(server: Server, cable: Cable) -> Result<f64, Box<dyn Error>> {
    let (network, _program) = cable.connect(server);
    let running = match server {
        Server::Bounce(_) => Running::Bounce { _process: network.start_responder("--then discard") },
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
    // Then all has been taken.
    if stream.read(&mut [0])? != 0 {
        return Err("a discard server said something".into());
    }
    let seconds = start.elapsed().as_secs_f64();
    running.finish()?;
    Ok((VOLUME * chunk.len() * 8) as f64 / seconds / 1e9)
}

/// Thousands of connections per second that this many clients open, see closed by `server`, and close.
fn close(server: Server, clients: usize) -> Result<f64, Box<dyn Error>> {
    let cable = if server == Server::Bounce(Mode::Native) { Cable::Xdp } else { Cable::Bare };
    let (network, _program) = cable.connect(server);
    network.client.sysctl("ipv4/ip_local_port_range", "1024 65535");
    let each = CONNECTIONS / clients;
    let running = match server {
        Server::Bounce(_) => Running::Bounce { _process: network.start_responder("--then close") },
        Server::Std | Server::Netcat => {
            let listener = network.listen(DISCARD);
            let accept = |listener: TcpListener| {
                thread::spawn(move || listener.incoming().take(each).try_for_each(|stream| stream.map(drop)))
            };
            Running::Std((0..clients).map(|_| listener.try_clone().map(accept)).collect::<Result<_, _>>()?)
        }
    };
    let connect = || -> io::Result<()> {
        for _ in 0..each {
            let mut stream = TcpStream::connect((HOST, DISCARD))?;
            stream.set_read_timeout(Some(DEADLINE))?;
            stream.read_exact(&mut [0]).map_or_else(
                |error| if error.kind() == io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(error) },
                |()| Err(io::Error::other("a server that only closes said something")),
            )?;
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

/// Measures each server in each column where it can be, in turns, and reports the medians.
fn table<C: Copy>(
    report: &mut Report,
    servers: &[Server],
    columns: &[C],
    name: impl Fn(C) -> String,
    measure: impl Fn(Server, C) -> Result<Option<f64>, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut rates = vec![vec![Vec::new(); columns.len()]; servers.len()];
    for _ in 0..TURNS {
        for (column, &condition) in columns.iter().enumerate() {
            for (row, &server) in servers.iter().enumerate() {
                rates[row][column].extend(measure(server, condition)?);
            }
        }
    }
    let base = servers.iter().position(|&server| server == Server::Std).ok_or("nothing to compare with")?;
    let cell = |(rates, base): (&Vec<f64>, &Vec<f64>)| {
        if rates.is_empty() {
            return "-".to_owned();
        }
        let ratio = median(rates.iter().zip(base).map(|(rate, base)| rate / base));
        format!("{:.2} ({ratio:.2})", median(rates.iter().copied()))
    };
    let rows =
        servers.iter().zip(&rates).map(|(server, own)| row(server.name(), own.iter().zip(&rates[base]).map(cell)));
    let columns: Vec<_> = columns.iter().map(|&column| name(column)).collect();
    let header: Vec<_> = std::iter::once("").chain(columns.iter().map(String::as_str)).collect();
    report.table(&header, rows);
    Ok(())
}
