//! Tests that run on every supported kernel, in the virtual machines of `make test-kernels`.
//!
//! The virtual machines also run some modules of `tests/it`.

#[path = "it/fixtures/mod.rs"]
#[allow(dead_code, unused_macros, reason = "the tests in `it` use the rest")]
mod fixtures;

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, SystemTime};

use caps::{CapSet, Capability};
use libbpf_rs::{PrintLevel, set_print};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use tcp_bounce::internals::loader::ProgramInputs;
use tcp_bounce::internals::{ethtool, kernel, loader};
use tcp_bounce_wire::{Action, Ending, SystemReplies, TelemetrySettings};

use fixtures::DEADLINE;
use fixtures::command::{BINARY, STARTED, TcpBounce};
use fixtures::namespace::Namespace;
use fixtures::packet::{Choice, Setup, TestService, service_tables};
use fixtures::process::{Process, run};

/// The address of the NIC on which tcp-bounce answers.
const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The address of the client's NIC.
const THERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// The recorded numbers of verified instructions, with a line for each kernel and program.
const RECORDED: &str = include_str!("kernel/verified.txt");

/// The messages of libbpf while it loads a program.
static MESSAGES: Mutex<String> = Mutex::new(String::new());

fn collect(_: PrintLevel, message: String) {
    MESSAGES.lock().unwrap().push_str(&message);
}

/// Returns the names and setups of the programs whose instructions are counted.
fn programs() -> [(&'static str, Setup); 8] {
    let choice = |choice| Setup::new(choice);
    let service = TestService::new(b"220 ready\r\n", &[(b"EHLO ", b"250 ok\r\n")], Ending::Stay);
    let all = TelemetrySettings { ports: true, sources: true, events: 1, stripes: 1, shared: true };
    let styled = Choice { system: Some(SystemReplies::OPENBSD), key: Some([1; 16]), ..Choice::DEFAULT };
    let filtered = Setup {
        filters_destinations: true,
        filters_sources: true,
        ..choice(Choice { takeover: true, ..Choice::DEFAULT })
    };
    [
        ("default", choice(Choice::DEFAULT)),
        ("keyed", choice(Choice { key: Some([1; 16]), ..Choice::DEFAULT })),
        ("discard", choice(Choice { action: Action::Discard, ..Choice::DEFAULT })),
        ("echo", choice(Choice { action: Action::Echo, key: Some([1; 16]), ..Choice::DEFAULT })),
        ("serve", Setup::serving(service, Choice::DEFAULT)),
        ("filtered", filtered),
        ("styled", choice(styled)),
        ("observed", Setup { telemetry: all, ..choice(Choice::DEFAULT) }),
    ]
}

/// Loads tcp-bounce's program with `setup`, and returns the number of instructions that the verifier processes.
///
/// Linux before 5.16 reports this number only in the verifier's log.
fn verified(setup: &Setup) -> u64 {
    let mut skel = loader::open().unwrap();
    let services = service_tables(setup);
    let inputs = ProgramInputs {
        settings: setup.settings(),
        interface: &setup.settings.interface(),
        filters: &setup.filters,
        actions: &setup.actions_by_port(),
        services: services.as_ref(),
    };
    loader::set_up(&mut skel, &inputs).unwrap();
    // `BPF_LOG_STATS` in the kernel's `linux/bpf_verifier.h`.
    skel.progs.tcp_bounce.set_log_level(4);
    set_print(Some((PrintLevel::Debug, collect)));
    MESSAGES.lock().unwrap().clear();
    loader::load_opened(skel).unwrap_or_else(|error| panic!("{error}: {}", MESSAGES.lock().unwrap()));
    let output = MESSAGES.lock().unwrap();
    let count = output.split("\nprocessed ").nth(1).and_then(|rest| rest.split(' ').next());
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no statistics: {output}"))
}

#[test]
fn verified_instructions_grow_by_less_than_half() {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let series = release.split('.').take(2).collect::<Vec<_>>().join(".");
    let mut wrong = Vec::new();
    for (name, setup) in programs() {
        let count = verified(&setup);
        println!("verified: {series} {name} {count}");
        let recorded = RECORDED.lines().find_map(|line| line.strip_prefix(&format!("{series} {name} ")));
        match recorded.map(|recorded| recorded.parse::<u64>().unwrap()) {
            Some(recorded) if count <= recorded * 3 / 2 => {}
            recorded => wrong.push(format!("{series} {name} {count}, where {recorded:?} is recorded")),
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "see tests/kernel/verified.txt");
}

/// Two NICs of the virtual machine on one cable. The client's NIC is in its own namespace.
struct Cable {
    here: String,
    client: Namespace,
}

impl Cable {
    fn new() -> Self {
        let names =
            fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut nics: Vec<String> =
            names.filter(|name| ethtool::driver(name).is_ok_and(|it| it == "virtio_net")).collect();
        nics.sort();
        let [here, there] = &nics[..] else { panic!("this is not a virtual machine of `make test-kernels`: {nics:?}") };
        let client = Namespace::new();
        ip(&format!("link set {there} netns {}", client.path()));
        for (run, name, address) in
            [(&ip as &dyn Fn(&str), here, HERE), (&|arguments: &str| drop(client.ip(arguments)), there, THERE)]
        {
            run(&format!("address add {address}/24 dev {name}"));
            run(&format!("link set {name} up"));
        }
        Self { here: here.clone(), client }
    }

    fn connect(&self, port: u16) -> io::Result<TcpStream> {
        self.client.enter(|| TcpStream::connect_timeout(&SocketAddr::new(IpAddr::V4(HERE), port), DEADLINE))
    }
}

fn ip(arguments: &str) {
    run(Command::new("ip").args(arguments.split_whitespace())).success();
}

/// Prints the end of the verifier's log, if `output` names one. The files of a virtual machine end with it.
fn print_verifier_log(output: &str) {
    if let Some((path, _)) = output.split_once("(log: ").and_then(|(_, rest)| rest.split_once(')')) {
        let log = fs::read_to_string(path).unwrap();
        let lines: Vec<_> = log.lines().collect();
        println!("{}", lines[lines.len().saturating_sub(60)..].join("\n"));
    }
}

fn start(arguments: &str) -> Process {
    let mut command = Command::new(BINARY);
    let process = Process::start(command.args(arguments.split_whitespace()));
    process.wait_for(STARTED);
    process
}

#[test]
fn client_connects_in_each_mode() {
    let cable = Cable::new();
    for (mode, shown) in [("native", " xdp "), ("skb", " xdpgeneric "), ("auto", " xdp ")] {
        let check = run(Command::new(BINARY).args(["--check", "--mode", mode, &cable.here]));
        print_verifier_log(&check.stdout);
        let facts = check.success();
        println!("{facts}");
        assert!(!facts.contains("socket lookup"), "the kernel does not record sockets");
        let process = start(&format!("--mode {mode} --events {}", cable.here));
        let link = run(Command::new("ip").args(["link", "show", "dev", &cable.here])).success();
        assert!(link.contains(shown), "{mode}: {link}");
        for port in [22, 80, 65535] {
            cable.connect(port).unwrap_or_else(|error| panic!("{mode}, port {port}: {error}"));
            process.wait_for(&format!("{HERE}:{port} completed"));
        }
        process.signal(Signal::SIGINT);
        let output = process.finish().success();
        assert!(output.contains("3 SYNs answered"), "{output}");
        let link = run(Command::new("ip").args(["link", "show", "dev", &cable.here])).success();
        assert!(!link.contains("xdp"), "{link}");
    }
    run_survives_a_clock_set_back(&cable);
}

/// Checks that a run survives a wall clock that is set back by a day, as NTP or an administrator may do.
///
/// Only a virtual machine allows this change.
fn run_survives_a_clock_set_back(cable: &Cable) {
    let report = std::env::temp_dir().join("report.json");
    let process = start(&format!("--mode skb --events --top-talkers --report {} {}", report.display(), cable.here));
    cable.connect(80).unwrap();
    process.wait_for(&format!("{HERE}:80 completed"));
    let now = clock_gettime(ClockId::CLOCK_REALTIME).unwrap();
    clock_settime(ClockId::CLOCK_REALTIME, now - TimeSpec::from_duration(Duration::from_secs(86_400))).unwrap();
    assert!(
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() < Duration::from(now),
        "the clock is set back"
    );
    cable.connect(80).unwrap();
    cable.connect(81).unwrap();
    process.wait_for(&format!("{HERE}:81 completed"));
    process.signal(Signal::SIGINT);
    let output = process.finish().success();
    assert!(output.contains("3 SYNs answered"), "{output}");
    let report: serde_json::Value = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!((&report["ports"][0]["syns"], &report["ports"][1]["syns"]), (&2.into(), &1.into()), "{report}");
}

#[test]
fn too_little_locked_memory_is_reported_on_old_kernels() {
    let namespace = Namespace::new();
    namespace.ip("link add host0 type veth peer name client0");
    let mut command = TcpBounce::command(&namespace, "--mode skb --duration 1ms host0");
    // Before Linux 5.11, `RLIMIT_MEMLOCK` limits the memory of maps. Only `CAP_SYS_RESOURCE` can raise the hard limit.
    let lower = || Ok(setrlimit(Resource::RLIMIT_MEMLOCK, 65536, 65536)?);
    // SAFETY: Between fork and exec, `lower` makes one system call. It takes no lock and allocates no memory.
    unsafe { command.pre_exec(lower) };
    let finished = thread::spawn(move || {
        // `caps::drop` affects the calling thread and the processes that it starts.
        caps::drop(None, CapSet::Bounding, Capability::CAP_SYS_RESOURCE).unwrap();
        run(&mut command)
    });
    let finished = finished.join().unwrap();
    if kernel::is_older_than((5, 11)) {
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        let hint = finished.stderr.lines().nth(1).unwrap_or_default();
        assert!(hint.starts_with("  hint: ") && hint.contains("LimitMEMLOCK=infinity"), "{finished:?}");
    } else {
        finished.success();
    }
}
