//! The command line: accepted arguments, and the errors for invalid ones. These tests need no root.

use std::fs;
use std::process::{Command, Output};

const BINARY: &str = env!("CARGO_BIN_EXE_tcp-bounce");

fn tcp_bounce(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).env("LC_ALL", "C").output().unwrap()
}

/// Runs tcp-bounce with arguments that it must refuse with the exit code `code`, and returns its error.
#[track_caller]
fn refused(arguments: &[&str], code: i32) -> String {
    let output = tcp_bounce(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?} {output:?}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!error.contains("panicked"), "{error}");
    error
}

/// Options that take a number, with the smallest and the largest accepted number.
const NUMBERS: [(&str, u32, u32); 5] =
    [("--isn", 0, u32::MAX), ("--ttl", 1, 255), ("--window", 0, 65_535), ("--wscale", 0, 14), ("--mss", 1, 65_535)];

#[track_caller]
fn assert_number_refused(value: &str) {
    for (option, first, last) in NUMBERS {
        for arguments in [&[option, value, "nosuch0"] as &[_], &[&format!("{option}={value}"), "nosuch0"]] {
            let error = refused(arguments, 2);
            let range = format!("not a number from {first} to {last}");
            assert!(error.contains(option) && error.contains(&range), "{arguments:?} {error}");
        }
    }
}

#[test]
fn malformed_number_error_shows_the_range() {
    for value in ["", " ", "x", "0x", "0xg", "x10", "1.5", "1e2", "1 ", " 1", "1_000", "1,000", "0b1", "١"] {
        assert_number_refused(value);
    }
}

#[test]
fn signed_number_error_shows_the_range() {
    for value in ["+1", "0x+1", "0x-1", "-1", "-0"] {
        assert_number_refused(value);
    }
}

#[test]
fn number_out_of_range_error_shows_the_range() {
    for value in ["4294967296", "0x100000000", "18446744073709551616", "0x10000000000000000", "99999999999999999999"] {
        assert_number_refused(value);
    }
    for (arguments, range) in [
        (["--ttl", "0"], "1 to 255"),
        (["--ttl", "0x0"], "1 to 255"),
        (["--ttl", "256"], "1 to 255"),
        (["--window", "65536"], "0 to 65535"),
        (["--window", "0x10000"], "0 to 65535"),
        (["--wscale", "15"], "0 to 14"),
        (["--mss", "0"], "1 to 65535"),
        (["--mss", "65536"], "1 to 65535"),
    ] {
        let error = refused(&[arguments[0], arguments[1], "nosuch0"], 2);
        assert!(error.contains(&format!("not a number from {range},")), "{arguments:?} {error}");
    }
}

#[test]
fn malformed_list_error_shows_an_example() {
    for (list, item) in [
        ("", ""),
        (" ", ""),
        (",", ""),
        ("22,", ""),
        (",22", ""),
        ("22,,80", ""),
        ("22 80", "22 80"),
        ("ssh", "ssh"),
        ("65536", "65536"),
        ("1-65536", "65536"),
        ("99999999999", "99999999999"),
        ("-22", ""),
        ("22-", ""),
        ("-", ""),
        ("1-2-3", "2-3"),
        ("+22", "+22"),
        ("1--2", "-2"),
        ("0x16", "0x16"),
        ("22;80", "22;80"),
        ("٢٢", "٢٢"),
    ] {
        let error = refused(&[&format!("--exclude-ports={list}"), "nosuch0"], 2);
        let words = format!("\"{item}\" is not a port from 0 to 65535; a list looks like 22,8000-8999");
        assert!(error.contains(&words), "{list:?} {error}");
    }
    assert!(refused(&["--exclude-ports", "80,9-5", "nosuch0"], 2).contains("the range 9-5 runs backwards"));
}

#[test]
fn malformed_argument_error_names_the_argument() {
    for (arguments, words) in [
        (&[] as &[_], "required arguments were not provided:\n  <IFACE>"),
        (&["--quiet"], "<IFACE>"),
        (&["--mode", "fast", "nosuch0"], "'fast'"),
        (&["--mode", "fast", "nosuch0"], "auto, native, skb, hw"),
        (&["--mode", "nosuch0"], "auto, native, skb, hw"),
        (&["--mode"], "--mode <MODE>"),
        (&["--isn"], "--isn <N|keyed>"),
        (&["--exclude-ports"], "--exclude-ports <LIST>"),
        (&["--no-such-option", "nosuch0"], "'--no-such-option'"),
        (&["--ttl", "1", "--ttl", "2", "nosuch0"], "cannot be used multiple times"),
        (&["--sample", "10", "nosuch0"], "required arguments were not provided:\n  --events"),
        (&["--events", "--sample", "0", "nosuch0"], "not a number from 1 to 4294967295"),
        (&["--report", "report.txt", "nosuch0"], "the name must end with .json or .csv"),
        (&["--report", "", "nosuch0"], "--report <FILE>"),
        (&["--report", "a.csv", "--events", "--sample", "2", "nosuch0"], "cannot be used with"),
        (&["--tui", "--json", "nosuch0"], "cannot be used with"),
        (&["--report", "folder.json/", "nosuch0"], "this is the name of a folder"),
        (&["--metrics-listen", "localhost:9464", "nosuch0"], "not an address and a port"),
        (&["--quiet=yes", "nosuch0"], "'yes'"),
    ] {
        let error = refused(arguments, 2);
        assert!(error.contains(words), "{arguments:?} {error}");
    }
}

#[test]
fn duration_needs_a_unit_and_exceeds_zero() {
    for time in ["0", "0s", "0h0m", "", " ", "60", "s", "-60s", "1x", "60s!", "999999999999999999999s"] {
        let error = refused(&[&format!("--duration={time}"), "nosuch0"], 2);
        assert!(error.contains("not a time above zero with its unit, like 60s, 10m or 1h30m"), "{time:?} {error}");
    }
}

#[test]
fn lists_may_contain_spaces() {
    for list in ["22, 80", " 22 ,80 ", "\t22"] {
        assert!(refused(&["--exclude-ports", list, "nosuch0"], 1).contains("no interface"));
    }
}

/// Checks that valid arguments pass the parser: the error is about the interface, which does not exist.
#[test]
fn valid_arguments_are_accepted() {
    for arguments in [
        "--isn 0",
        "--isn 4294967295",
        "--isn 0xffffffff",
        "--isn 0XFFFFFFFF",
        "--isn 0x0",
        "--isn 007",
        "--ttl 1",
        "--ttl 255",
        "--ttl 0xff",
        "--window 0",
        "--window 65535",
        "--window 0xffff",
        "--mss 1",
        "--mss 65535",
        "--exclude-ports 0",
        "--exclude-ports 65535",
        "--exclude-ports 22,80",
        "--exclude-ports 0-65534",
        "--exclude-ports 80-80",
        "--exclude-ports 22,22,20-30",
        "--exclude-ports 22 --exclude-ports 80",
        "--mode auto",
        "--mode native",
        "--mode skb",
        "--mode hw",
        "--duration 60s",
        "--duration 10m",
        "--duration 1h30m",
        "--duration 1.5s",
        "--duration 99999years",
        "--check",
        "--check --events --sample 5 --top-talkers --metrics-listen 9464",
        "--takeover",
        "--quiet",
        "--takeover --quiet --mode skb --isn 1 --ttl 2 --window 3 --mss 4 --exclude-ports 5",
    ] {
        let arguments: Vec<_> = arguments.split(' ').chain(["nosuch0"]).collect();
        let error = refused(&arguments, 1);
        assert!(error.starts_with("tcp-bounce: there is no interface \"nosuch0\"\n"), "{arguments:?} {error}");
    }
}

#[test]
fn unknown_interface_error_lists_the_interfaces() {
    for name in ["nosuch0", "", "no such", "a-name-that-is-longer-than-any-interface-can-have", "../lo", "lo0"] {
        let error = refused(&[name], 1);
        let (line, hint) = error.split_once('\n').unwrap();
        assert_eq!(line, format!("tcp-bounce: there is no interface \"{name}\""));
        assert!(hint.starts_with("  hint: there are "), "{hint}");
        assert!(hint.split([' ', ',', '\n']).any(|name| name == "lo"), "{hint}");
    }
}

#[test]
fn loopback_interface_error_gives_the_reason() {
    let error = refused(&["lo"], 1);
    assert!(error.starts_with("tcp-bounce: lo is the loopback interface: "), "{error}");
    assert!(error.contains("  hint: "), "{error}");
}

#[test]
fn excluding_every_port_is_refused() {
    let complaint_about_two = refused(&["--exclude-ports", "0-30000", "--exclude-ports", "30001-65535", "nosuch0"], 1);
    assert!(complaint_about_two.contains("--exclude-ports names every port"), "{complaint_about_two}");
    let ports_too = refused(&["--ports", "80,443", "--exclude-ports", "1-500", "nosuch0"], 1);
    assert!(ports_too.contains("--exclude-ports names every port"), "{ports_too}");
    for list in ["0-65535", "0-30000,30001-65535", "65535,0-65534"] {
        let error = refused(&["--exclude-ports", list, "nosuch0"], 1);
        assert!(error.contains("--exclude-ports names every port that there is to answer on"), "{error}");
    }
}

#[test]
fn help_names_every_option() {
    for option in ["-h", "--help"] {
        let output = tcp_bounce(&[option]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stderr, b"");
        let help = String::from_utf8(output.stdout).unwrap();
        for word in [
            "--mode",
            "--isn",
            "--key-file",
            "--dst",
            "--src",
            "--ports",
            "--exclude-ports",
            "--takeover",
            "--ttl",
            "--window",
            "--wscale",
            "--mss",
            "--duration",
            "--events",
            "--sample",
            "--report",
            "--metrics-listen",
            "--tui",
            "--top-talkers",
            "--check",
            "--json",
            "--quiet",
            "IFACE",
        ] {
            assert!(help.contains(word), "{word} {help}");
        }
    }
}

#[test]
fn short_version_shows_the_package_version() {
    let output = tcp_bounce(&["-V"]);
    assert_eq!(output.stdout, concat!("tcp-bounce ", env!("CARGO_PKG_VERSION"), "\n").as_bytes(), "{output:?}");
}

#[test]
fn long_version_shows_commit_and_object() {
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let version = String::from_utf8(tcp_bounce(&["--version"]).stdout).unwrap();
    let (first, second) = version.trim_end().split_once('\n').unwrap();
    let commit = first.strip_prefix(concat!("tcp-bounce ", env!("CARGO_PKG_VERSION"))).unwrap();
    if fs::exists(".git").unwrap() {
        let head = output("git", &["-c", "safe.directory=*", "rev-parse", "HEAD"]);
        let commit = commit.strip_prefix(" (").unwrap().strip_suffix(')').unwrap();
        assert_eq!(commit.trim_end_matches('+'), &head[..12], "{version}");
    } else {
        assert_eq!(commit, "");
    }
    let sum = output("sha256sum", &[concat!(env!("OUT_DIR"), "/tcp_bounce.bpf.o")]);
    assert!(second.starts_with(&format!("XDP program: sha256 {}, ", &sum[..64])), "{version}");
}

#[test]
fn post_handshake_action_is_one_of_six_per_port() {
    for value in ["", "nothing", "Drop", "echo:", "echo:x", "echo:9-7", "echo:65536", ":7", "echo 7", "echo:7:8"] {
        let error = refused(&["--on-connect", value, "nosuch0"], 2);
        assert!(error.contains("--on-connect"), "{value:?} {error}");
    }
    let unknown = refused(&["--on-connect", "close:80", "--on-connect", "hang", "nosuch0"], 2);
    let words =
        "\"hang\" is none of drop, reset, close, discard, echo, tarpit; with ports it looks like echo:7,8000-8999";
    assert!(unknown.contains(words), "{unknown}");
    for (arguments, words) in [
        (
            ["--on-connect", "echo:7-9", "--on-connect", "discard:9"],
            "--on-connect gives port 9 two modes: echo and discard",
        ),
        (
            ["--on-connect", "close", "--on-connect", "reset"],
            "--on-connect gives all other ports two modes: close and reset",
        ),
    ] {
        let error = refused(&[&arguments[..], &["nosuch0"]].concat(), 1);
        assert!(error.contains(words) && error.contains("  hint: "), "{error}");
    }
}
