//! Many connections, held open or short, which must not increase the memory of tcp-bounce.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use tcp_bounce_wire::Verdict;

use crate::fixtures::machine::MachineLock;
use crate::fixtures::network::{HOST, HOST_V6, HOSTS, Mode, Network};
use crate::fixtures::process::Process;
use crate::fixtures::resources::{Memory, Statistics, cpu_time};
use crate::fixtures::{DEADLINE, amount, programs, until};

in_each_mode! {
    tarpit_holds_thousands_of_clients,
    many_connections_end_cleanly,
}

/// A Python script with clients that wait for the host to accept their data.
///
/// Several processes share the clients, so that a low limit of open files suffices.
const HELD: &str = "
import resource, socket, sys
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
count, *addresses = sys.argv[1:]
clients = [socket.create_connection((addresses[index % 2], 1 + index), timeout=60) for index in range(int(count))]
for client in clients: client.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n')
print('connected', flush=True)
sys.stdin.read()
";

fn tarpit_holds_thousands_of_clients(mode: Mode) {
    const PROCESSES: usize = 4;
    /// The time from the data to the first retransmission, in seconds. The kernel doubles it after each one.
    const FIRST_RETRANSMISSION: f64 = 0.2;

    let count = amount("CLIENTS", 500, 2500) * PROCESSES;
    let hold = Duration::from_secs(amount("HOLD_SECONDS", 6, 60) as u64);
    // The number of retransmissions of each client in the first half of the time.
    let retransmissions = (hold.as_secs_f64() / 2.0 / FIRST_RETRANSMISSION + 1.0).log2() as u64;

    let _machine = MachineLock::exclusive();
    let _statistics = Statistics::start();

    let network = Network::new(mode);
    // The kernel sends thousands of segments at once, but a veth end has room for 256 frames. This qdisc queues them.
    network.client.run("tc", "qdisc add dev client0 root tbf rate 5mbit burst 10kb limit 10mb");
    let responder = network.start_responder("--on-connect tarpit");
    let before = Memory::of(&responder);
    let start = Instant::now();
    let clients: Vec<Process> = (0..PROCESSES)
        .map(|_| {
            let mut python = network.client.command("python3");
            python.args(["-c", HELD, &(count / PROCESSES).to_string(), &HOST.to_string(), &HOST_V6.to_string()]);
            Process::start_as_is(python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()))
        })
        .collect();
    for client in &clients {
        client.wait_for("connected");
    }
    // The cable may lose a few segments. Each client also gets an answer to its first data.
    network.wait_until_counted(Verdict::Replied, (retransmissions + 1) * count as u64 - 100);
    thread::sleep(hold.saturating_sub(start.elapsed()));

    let held = network.client.sockets("established");
    assert_eq!(held.matches("timer:(on").count(), count);
    assert_eq!(held.matches("bytes_acked:1 ").count(), count, "only the SYN is acknowledged");
    before.assert_no_more(&responder);
    let program = programs::program_info(programs::attached(&network.host, "host0").unwrap());
    println!(
        "{count} clients for {:?}: the program ran {} times, {:?} in all; the process used {:?}",
        start.elapsed(),
        program.run_cnt,
        Duration::from_nanos(program.run_time_ns),
        cpu_time(&responder)
    );
    drop(responder);
    drop(clients);
}

fn many_connections_end_cleanly(mode: Mode) {
    const THREADS: usize = 2;
    let count = amount("CONNECTIONS", 50_000, 1_000_000);
    let _machine = MachineLock::exclusive();
    let network = Network::new(mode);
    // The client closes first with discard, the server with close.
    let responder = network.start_responder("--on-connect discard:9 --on-connect close");
    // A client that closes first keeps its port for a minute (TIME-WAIT). The clients get more ports, and may reuse
    // them.
    network.client.sysctl("ipv4/ip_local_port_range", "1024 65535");
    network.client.sysctl("ipv4/tcp_tw_reuse", "1");
    let before = Memory::of(&responder);
    let start = Instant::now();
    let run = |thread: usize| {
        for index in 0..count / THREADS {
            let address = SocketAddr::new(HOSTS[index % 2], if index / 2 % 2 == 0 { 9 } else { 80 });
            let mut client = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
            client.set_read_timeout(Some(DEADLINE)).unwrap();
            client.write_all(b"some words").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(client.read(&mut [0]).unwrap(), 0, "thread {thread}, connection {index}");
        }
    };
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let network = &network;
            scope.spawn(move || network.client.enter(|| run(thread)));
        }
    });
    println!("{count} connections in {:?}", start.elapsed());
    until("for the last to end", || network.client.sockets("all exclude time-wait").is_empty().then_some(()));
    before.assert_no_more(&responder);
    assert!(responder.interrupt().count("SYNs answered") >= count as u64);
}
