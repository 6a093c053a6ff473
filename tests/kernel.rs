//! Tests that run on every supported kernel, in the virtual machines of `make test-kernels`.
//!
//! The virtual machines also run some modules of `tests/it`.

#[path = "it/fixtures/mod.rs"]
#[allow(dead_code, unused_macros, reason = "the tests in `it` use the rest")]
mod fixtures;

use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, SystemTime};

use caps::{CapSet, Capability};
use libbpf_rs::{PrintLevel, set_print};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};
use tcp_bounce::internals::loader::ProgramInputs;
use tcp_bounce::internals::{kernel, loader};
use tcp_bounce_wire::{Action, Ending, FieldKind, SystemReplies, TelemetrySettings};

use fixtures::command::TcpBounce;
use fixtures::is_silent;
use fixtures::namespace::Namespace;
use fixtures::network::{HOST, Mode, Network};
use fixtures::nics;
use fixtures::packet::{Choice, Part, Setup, TestPayload, TestService, service_tables};
use fixtures::process::run;
use fixtures::programs::PROGRAM_OBJECT;

/// The recorded numbers of verified instructions, with a line for each kernel and program.
const RECORDED: &str = include_str!("kernel/verified.txt");

/// The directory with xdp-tools and the libraries that they need.
const XDP_TOOLS: &str = "/xdp-tools";

/// The messages of libbpf while it loads a program.
static MESSAGES: Mutex<String> = Mutex::new(String::new());

fn collect(_: PrintLevel, message: String) {
    MESSAGES.lock().unwrap().push_str(&message);
}

/// Returns the names and setups of the programs whose instructions are counted.
fn programs() -> [(&'static str, Setup); 9] {
    let choice = |choice| Setup::new(choice);
    let service = TestService::new(b"220 ready\r\n", &[(b"EHLO ", b"250 ok\r\n")], Ending::Stay);
    let fields = TestPayload(FieldKind::ALL.map(Part::Field).to_vec());
    let rendering = TestService::rendering(&fields, &[(b"EHLO ", fields.clone())], Ending::Stay);
    let all = TelemetrySettings { ports: true, sources: true, events: 1, stripes: 1, shared: true, data: 1024 };
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
        ("fields", Setup::serving(rendering, Choice::DEFAULT)),
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

/// Prints the end of the verifier's log, if `output` names one. The files of a virtual machine end with it.
fn print_verifier_log(output: &str) {
    if let Some((path, _)) = output.split_once("(log: ").and_then(|(_, rest)| rest.split_once(')')) {
        let log = fs::read_to_string(path).unwrap();
        let lines: Vec<_> = log.lines().collect();
        println!("{}", lines[lines.len().saturating_sub(60)..].join("\n"));
    }
}

#[test]
fn client_connects_in_each_mode() {
    let (host, client) = nics::host_and_client();
    let network = Network::of_interfaces(host, client, Mode::Skb);
    let host = &network.host;
    for (mode, shown) in [("native", " xdp "), ("skb", " xdpgeneric "), ("auto", " xdp ")] {
        let check = run(&mut TcpBounce::command(host, &format!("--check --mode {mode} host0")));
        print_verifier_log(&check.stdout);
        let facts = check.success();
        println!("{facts}");
        assert!(!facts.contains("socket lookup"), "the kernel does not record sockets");
        let responder = TcpBounce::start(host, &format!("--mode {mode} --events host0"));
        let link = host.ip("link show dev host0");
        assert!(link.contains(shown), "{mode}: {link}");
        for port in [22, 80, 65535] {
            network.connect(port).unwrap_or_else(|error| panic!("{mode}, port {port}: {error}"));
            responder.0.wait_for(&format!("{HOST}:{port} completed"));
        }
        assert_eq!(responder.interrupt().count("SYNs answered"), 3, "{mode}");
        let link = host.ip("link show dev host0");
        assert!(!link.contains("xdp"), "{link}");
    }
    run_survives_a_clock_set_back(&network);
}

/// Checks that a run survives a wall clock that is set back by a day, as NTP or an administrator may do.
///
/// Only a virtual machine allows this change.
fn run_survives_a_clock_set_back(network: &Network) {
    let report = std::env::temp_dir().join("report.json");
    let responder = network.start_responder(&format!("--events --top-talkers --report {}", report.display()));
    network.connect(80).unwrap();
    responder.0.wait_for(&format!("{HOST}:80 completed"));
    let now = clock_gettime(ClockId::CLOCK_REALTIME).unwrap();
    clock_settime(ClockId::CLOCK_REALTIME, now - TimeSpec::from_duration(Duration::from_secs(86_400))).unwrap();
    assert!(
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() < Duration::from(now),
        "the clock is set back"
    );
    network.connect(80).unwrap();
    network.connect(81).unwrap();
    responder.0.wait_for(&format!("{HOST}:81 completed"));
    assert_eq!(responder.interrupt().count("SYNs answered"), 3);
    let report: serde_json::Value = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!((&report["ports"][0]["syns"], &report["ports"][1]["syns"]), (&2.into(), &1.into()), "{report}");
}

/// Checks the object in the dispatcher of libxdp, next to xdp-filter, which drops SYNs to one port.
#[test]
fn object_runs_next_to_another_program() {
    if kernel::is_older_than((6, 1)) {
        // Linux 5.10 does not attach the object to the dispatcher: `EINVAL`.
        return;
    }
    let (host, client) = nics::host_and_client();
    let network = Network::of_interfaces(host, client, Mode::Skb);
    for directory in ["proc", "sys"] {
        fs::create_dir_all(format!("{XDP_TOOLS}/{directory}")).unwrap();
        let mount = format!("-o rbind /{directory} {XDP_TOOLS}/{directory}");
        run(Command::new("mount").args(mount.split_whitespace())).success();
    }
    fs::copy(PROGRAM_OBJECT, format!("{XDP_TOOLS}/tcp_bounce.bpf.o")).unwrap();
    let xdp_tools = |arguments: &str| {
        println!("{arguments}");
        network.host.run("chroot", &format!("{XDP_TOOLS} /usr/sbin/{arguments}"))
    };
    for mode in ["skb", "native"] {
        xdp_tools(&format!("xdp-filter load --mode {mode} --features tcp --policy allow host0"));
        xdp_tools("xdp-filter port --mode dst --proto tcp 81");
        xdp_tools(&format!("xdp-loader load --mode {mode} host0 /tcp_bounce.bpf.o"));
        println!("{}", xdp_tools("xdp-loader status host0"));

        let mut answered = network.connect(80).unwrap_or_else(|error| panic!("{mode}: {error}"));
        assert!(is_silent(&mut answered), "{mode}");
        let filtered = || TcpStream::connect_timeout(&(HOST, 81).into(), Duration::from_secs(2)).unwrap_err();
        assert_eq!(network.client.enter(filtered).kind(), ErrorKind::TimedOut, "{mode}");
        xdp_tools("xdp-loader unload host0 --all");
        network.assert_nothing_is_attached();
    }
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
