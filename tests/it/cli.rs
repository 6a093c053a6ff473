//! The command line: accepted arguments, and the errors for invalid ones. These tests need no root.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::NamedTempFile;

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
        assert!(error.contains(&format!("not a number from {range} (")), "{arguments:?} {error}");
    }
}

#[test]
fn malformed_list_error_shows_an_example() {
    for (list, item) in [
        ("22 80", "22 80"),
        ("ssh", "ssh"),
        ("65536", "65536"),
        ("1-65536", "65536"),
        ("99999999999", "99999999999"),
        ("-22", "-22"),
        ("-1", "-1"),
        ("22-", "22-"),
        ("-", "-"),
        ("80,1-2-3", "1-2-3"),
        ("+22", "+22"),
        ("1--2", "1--2"),
        ("0x16", "0x16"),
        ("22;80", "22;80"),
        ("٢٢", "٢٢"),
    ] {
        for (option, patterns) in [("--exclude-ports", ""), ("--ports", ", random:20 or share:3%")] {
            let error = refused(&[option, list, "nosuch0"], 2);
            let words = format!(
                ": \"{item}\" is not a port from 0 to 65535\n  hint: a list looks like 22,8000-8999{patterns}\n"
            );
            assert!(error.contains(&words) && error.contains(option), "{list:?} {error}");
        }
    }
    for list in ["", " ", ",", "22,", ",22", "22,,80"] {
        let error = refused(&[&format!("--exclude-ports={list}"), "nosuch0"], 2);
        assert!(error.contains(": empty entry in the port list\n  hint: "), "{list:?} {error}");
    }
    let error = refused(&["--exclude-ports", "80,9-5", "nosuch0"], 2);
    assert!(error.contains("the range 9-5 is reversed: write 5-9"), "{error}");
}

#[test]
fn only_ports_to_answer_on_can_be_selected_by_a_key() {
    for (list, reason) in [
        ("random:0", "\"0\" after random: is not a number from 1 to 65535 (decimal or 0x hexadecimal)"),
        ("22,share:3", "\"3\" after share: is not a percentage from 0.01% to 100%"),
    ] {
        let error = refused(&["--ports", list, "nosuch0"], 2);
        assert_eq!(
            error,
            format!(
                "error: invalid value '{list}' for '--ports <LIST>': {reason}\n  \
                 hint: a list looks like 22,8000-8999, random:20 or share:3%\n"
            )
        );
    }
    assert_eq!(
        refused(&["--ports", "1-65530,random:3", "--ports", "random:2", "--exclude-ports", "65531", "nosuch0"], 2),
        "error: --ports selects 5 ports, and 4 are left\n  hint: lower the numbers of random: and share:\n"
    );
    let error = refused(&["--exclude-ports", "random:3", "nosuch0"], 2);
    assert!(error.contains("\"random:3\" is not a port from 0 to 65535\n"), "{error}");
    // The key of the selection comes from a file that does not exist.
    let error = refused(&["--ports", "random:3", "--isn", "keyed", "--key-file", "/nonexistent", "nosuch0"], 2);
    assert!(error.starts_with("error: cannot read the key file /nonexistent: "), "{error}");
}

#[test]
fn malformed_argument_error_names_the_argument() {
    for (arguments, words) in [
        (&[] as &[_], "error: no interface given\n  hint: "),
        (&["--quiet"], "no interface given"),
        (&["--mode", "fast", "nosuch0"], "'fast'"),
        (&["--mode", "fast", "nosuch0"], "auto, native, skb, hw"),
        (&["--mode", "nosuch0"], "auto, native, skb, hw"),
        (&["--mode"], "--mode <MODE>"),
        (&["--isn"], "--isn <N|keyed>"),
        (&["--exclude-ports"], "--exclude-ports <LIST>"),
        (&["--no-such-option", "nosuch0"], "'--no-such-option'"),
        (&["--ttl", "1", "--ttl", "2", "nosuch0"], "cannot be used multiple times"),
        (&["--sample", "10", "nosuch0"], "--sample requires --events"),
        (&["--events", "--sample", "0", "nosuch0"], "not a number from 1 to 4294967295"),
        (&["--report", "report.txt", "nosuch0"], "the file name must end with .json, .csv or .xml"),
        (&["--report", "", "nosuch0"], "--report <FILE>"),
        (&["--report", "a.csv", "--events", "--sample", "2", "nosuch0"], "cannot be used with"),
        (&["--tui", "--json", "nosuch0"], "cannot be used with"),
        (&["--report", "folder.json/", "nosuch0"], "this is the name of a directory"),
        (&["--metrics-listen", "localhost:9464", "nosuch0"], "not ADDR:PORT, :PORT or PORT"),
        (&["--metrics-listen", "-1", "nosuch0"], "not ADDR:PORT, :PORT or PORT"),
        (&["--src", "-1", "nosuch0"], "\"-1\" is not an address or a prefix"),
        (&["--dst", "-1", "nosuch0"], "\"-1\" is not an address or a prefix"),
        (&["--on-connect", "echo:-1", "nosuch0"], "\"-1\" is not a port from 0 to 65535"),
        (&["--on-connect", "-1", "nosuch0"], "\"-1\" is not one of ignore,"),
        (&["--quiet=yes", "nosuch0"], "'yes'"),
        (&["--profile"], "--profile <NAME|FILE>"),
        (
            &["--profile", "eth1"],
            "no interface given: eth1 is the value of --profile\n  hint: name a profile before it",
        ),
        (&["--profile=eth1"], "no interface given: eth1 is the value of --profile\n  hint: name a profile before it"),
        (&["--profile", "./eth1"], "no interface given\n  hint: add one"),
        (&["--profile-format", "portspoof", "nosuch0"], "--profile-format requires --profile\n  hint: add --profile\n"),
        (&["--profile", "router", "--on-connect", "close", "nosuch0"], "cannot be used with '--on-connect"),
        (&["--show-profile", "nosuch"], "possible values: linux-server, windows-server, "),
        (&["--show-profile", "router", "nosuch0"], "cannot be used with one or more of the other"),
        (&["--list-profiles", "--json"], "cannot be used with one or more of the other"),
    ] {
        let error = refused(arguments, 2);
        assert!(error.contains(words), "{arguments:?} {error}");
    }
}

#[test]
fn duration_needs_a_unit_and_exceeds_zero() {
    for time in ["0", "0s", "0h0m", "", " ", "60", "s", "-60s", "1x", "60s!", "999999999999999999999s"] {
        let error = refused(&["--duration", time, "nosuch0"], 2);
        let words = ": not a duration above zero with a unit\n  hint: a duration looks like 60s, 10m or 1h30m\n";
        assert!(error.contains(words), "{time:?} {error}");
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
        "--ports random:65535",
        "--ports 22,random:20,share:0.5% --ports share:3%",
        "--ports 22,random:65534 --isn keyed",
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
        "--metrics-listen :9464",
        "--dst local",
        "--dst local,any,10.0.0.0/8",
        "--dst 192.0.2.1,2001:db8::/32 --dst 10.0.0.0/8",
        "--src 10.0.0.0/8,192.168.0.0/16 --src ::/0",
        "-p 80,443 -m skb -e -o report.csv -d 60s",
        "-q -p 22",
        "--takeover",
        "--profile linux-server",
        "--profile all-ports --isn keyed --exclude-ports 22",
        "--profile printer --ports 515,random:3",
        "--quiet",
        "--takeover --quiet --mode skb --isn 1 --ttl 2 --window 3 --mss 4 --exclude-ports 5",
    ] {
        let arguments: Vec<_> = arguments.split(' ').chain(["nosuch0"]).collect();
        let error = refused(&arguments, 1);
        assert!(error.contains("interface") && error.contains("\"nosuch0\"\n"), "{arguments:?} {error}");
    }
}

#[test]
fn unknown_interface_error_lists_the_interfaces() {
    for name in ["nosuch0", "", "no such", "a-name-that-is-longer-than-any-interface-can-have", "../lo", "lo0"] {
        let error = refused(&[name], 1);
        let (line, hint) = error.split_once('\n').unwrap();
        assert_eq!(line, format!("error: no interface named \"{name}\""));
        assert!(hint.starts_with("  hint: available interfaces: "), "{hint}");
        assert!(hint.split([' ', ',', '\n']).any(|name| name == "lo"), "{hint}");
    }
}

#[test]
fn port_in_place_of_an_interface_gets_a_hint_about_commas() {
    let error = refused(&["--ports", "80", "443", "lo"], 1);
    assert!(error.starts_with("error: no interface named \"443\"\n"), "{error}");
    assert!(error.contains("  hint: separate ports with commas and without spaces, as in --ports 80,443"), "{error}");
}

#[test]
fn loopback_interface_error_gives_the_reason() {
    let error = refused(&["lo"], 2);
    assert!(error.starts_with("error: lo is the loopback interface, and "), "{error}");
    assert!(error.contains("  hint: "), "{error}");
}

#[test]
fn excluding_every_port_is_refused() {
    for arguments in [
        &["--exclude-ports", "0-65535"] as &[_],
        &["--exclude-ports", "0-30000,30001-65535"],
        &["--exclude-ports", "65535,0-65534"],
        &["--exclude-ports", "0-30000", "--exclude-ports", "30001-65535"],
        &["--ports", "80,443", "--exclude-ports", "1-500"],
    ] {
        let error = refused(&[arguments, &["nosuch0"]].concat(), 2);
        assert!(
            error.contains("no port left to answer on: --exclude-ports lists every selected port\n  hint: "),
            "{error}"
        );
    }
}

#[test]
fn contradicting_settings_are_refused() {
    for (arguments, words, hint) in [
        ("--dst local --dst 10.0.0.0/8", "--dst local cannot be combined with prefixes", "--dst any"),
        (
            "--dst ::ffff:10.0.0.0/104",
            "--dst ::ffff:10.0.0.0/104 is an IPv4-mapped prefix",
            "use the IPv4 prefix 10.0.0.0/8",
        ),
        (
            "--src ::ffff:10.0.0.1",
            "--src ::ffff:10.0.0.1/128 is an IPv4-mapped prefix",
            "use the IPv4 prefix 10.0.0.1/32",
        ),
        ("--on-connect echo --isn 5", "--on-connect echo requires --isn keyed", "remove --isn"),
        (
            "--profile router --isn 5",
            "--profile requires --isn keyed, so that spoofed sources get no reply",
            "remove --isn, or set it to keyed",
        ),
        (
            "--profile router --ports 25 --exclude-ports 22",
            "no port left to answer on: --ports and --exclude-ports leave no port of the profile",
            "remove --ports, or list ports of the profile",
        ),
        (
            "--profile router --ports 25",
            "no port left to answer on: --ports lists no port of the profile",
            "remove --ports, or list ports of the profile",
        ),
        (
            "--profile router --exclude-ports 1-9000",
            "no port left to answer on: --exclude-ports lists every port of the profile",
            "remove at least one port from --exclude-ports",
        ),
        ("--key-file key", "--key-file requires --isn keyed", "add --isn keyed"),
        ("--isn 5 --key-file key", "--key-file requires --isn keyed", "add --isn keyed"),
    ] {
        let arguments: Vec<_> = arguments.split(' ').chain(["nosuch0"]).collect();
        let error = refused(&arguments, 2);
        let (line, rest) = error.split_once('\n').unwrap();
        assert!(line.contains(words) && rest.starts_with("  hint: ") && rest.contains(hint), "{arguments:?} {error}");
    }
}

#[test]
fn settings_that_answer_nothing_are_refused() {
    for (arguments, message, hint) in [
        (
            "--dst 224.0.0.0/4",
            "--dst lists no address that is ever answered: 224.0.0.0/4 is multicast",
            "add the unicast addresses of hosts, or omit --dst",
        ),
        (
            "--dst 255.255.255.255 --dst ff00::/8,127.0.0.1",
            "--dst lists no address that is ever answered: 255.255.255.255/32 is broadcast",
            "add the unicast addresses of hosts, or omit --dst",
        ),
        (
            "--src ::1",
            "--src lists no address that is ever answered: ::1/128 is unspecified or loopback",
            "add the unicast addresses of hosts, or omit --src",
        ),
        (
            "--dst 192.0.2.0/24 --src 2001:db8::/32",
            "--dst lists only IPv4 addresses and --src only IPv6 addresses, so no packet matches both",
            "add IPv6 addresses to --dst, or IPv4 addresses to --src",
        ),
    ] {
        let arguments: Vec<_> = arguments.split(' ').chain(["nosuch0"]).collect();
        assert_eq!(refused(&arguments, 2), format!("error: {message}\n  hint: {hint}\n"));
        let error = json_error(&[&["--json"], arguments.as_slice()].concat(), 2);
        assert_eq!((&error["message"], &error["hint"]), (&message.into(), &hint.into()));
    }
    // The error is about the missing interface, so the settings are accepted.
    for arguments in ["--dst 224.0.0.0/3", "--dst 240.0.0.0/4", "--dst 127.0.0.1,192.0.2.1", "--dst any --src ::/0"] {
        let arguments: Vec<_> = arguments.split(' ').chain(["nosuch0"]).collect();
        assert!(refused(&arguments, 1).contains("no interface named"), "{arguments:?}");
    }
}

#[test]
fn tui_without_a_terminal_is_a_usage_error() {
    let error = refused(&["--tui", "nosuch0"], 2);
    assert!(error.contains("terminal") && error.contains("  hint: "), "{error}");
}

/// Returns a file with this content, whose name ends with `.toml`.
fn profile_file(text: impl AsRef<[u8]>) -> NamedTempFile {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

/// The interface does not exist, so a profile that is not refused gets an error with another exit code.
#[test]
fn mistakes_in_a_profile_are_refused_with_their_line() {
    let long = format!("# A comment.\n[[service]]\nports = 80\nbanner = \"{}\"\n", "x".repeat(1300));
    for (text, message, hint) in [
        (long.as_str(), "line 4: the banner is 1300 bytes long; the limit is 1208", "shorten it, best to 250 bytes"),
        ("\n\nsystem = \"amiga\"", "line 3: \"amiga\" is not a known system", "use one of host, linux, "),
        ("", "it has no service", "add a [[service]]; "),
        (
            "[[service]]\nports = \"80-90\"\nbanner = \"a\"\n[[service]]\nports = \"90\"\nbanner = \"b\"\n",
            "line 5: port 90 already belongs to the service in line 2",
            "list port 90 for one service only",
        ),
    ] {
        let file = profile_file(text);
        let path = file.path().to_str().unwrap();
        let error = refused(&["--profile", path, "nosuch0"], 2);
        let (line, rest) = error.split_once('\n').unwrap();
        assert_eq!(line, format!("error: cannot use profile {path}: {message}"));
        assert!(rest.starts_with(&format!("  hint: {hint}")) && rest.lines().count() == 1, "{error}");
        let error = json_error(&["--json", "--profile", path, "nosuch0"], 2);
        assert_eq!(error["message"], format!("cannot use profile {path}: {message}"));
    }
    for (text, message, hint) in [
        ("ports = 80\nbaner = \"a\"", "line 3: \"baner\" is not a key of a service", "did you mean banner?"),
        ("ports = 22,80", "line 2: the value of ports is not in quotes", "write ports = \"22,80\""),
    ] {
        let file = profile_file(format!("[[service]]\n{text}\n"));
        let path = file.path().to_str().unwrap();
        let error = format!("error: cannot use profile {path}: {message}\n  hint: {hint}\n");
        assert_eq!(refused(&["--profile", path, "--check", "nosuch0"], 2), error);
    }
}

#[test]
fn profiles_that_cannot_be_read_are_refused() {
    let missing = "check the path; `tcp-bounce --list-profiles` lists the built-in profiles, which have no path";
    for (path, reason, hint) in [
        ("./nosuch.toml", "No such file or directory (os error 2)", missing),
        ("nosuch.toml", "No such file or directory (os error 2)", missing),
        ("/", "Is a directory (os error 21)", "add the name of a file in this directory"),
        ("/dev/zero", "file too large", "use a file of at most 16 MiB"),
    ] {
        let error = refused(&["--profile", path, "nosuch0"], 2);
        assert_eq!(error, format!("error: cannot read the profile {path}: {reason}\n  hint: {hint}\n"));
    }
    for (name, hint) in [
        ("linux-sever", "did you mean linux-server?\n"),
        ("xyz", "use a file such as ./FILE.toml, or one of linux-server, "),
    ] {
        let error = refused(&["--profile", name, "nosuch0"], 2);
        assert!(error.starts_with(&format!("error: no profile named \"{name}\"\n  hint: {hint}")), "{error}");
    }
}

/// Checks that a profile that its user may not read gets a hint. Root may read every file, so root runs the command as
/// another user.
#[test]
fn unreadable_profile_is_refused_with_a_hint() {
    let file = profile_file("");
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o000)).unwrap();
    let path = file.path().to_str().unwrap();
    let mut command = Command::new(BINARY);
    if nix::unistd::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = command.args(["--profile", path, "nosuch0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!(
            "error: cannot read the profile {path}: Permission denied (os error 13)\n  \
             hint: run tcp-bounce as a user who may read the file\n"
        )
    );
}

#[test]
fn profile_in_another_encoding_or_format_is_refused_with_a_hint() {
    const TOML: &str = "# A comment.\n\n[[service]]\nports = 80\nbanner = \"a\"\n";
    const PORTSPOOF: &str = "# A comment.\n80 \"a\"\n51-60 \"b\"\n";
    let utf8 = "save the file in UTF-8, and write other bytes as in { hex = \"ff fd 18\" }";
    let expressions = "expected KEY = VALUE or [[service]]; ";
    for (text, format, message, hint) in [
        (b"# a\n\n# b \xe4\n" as &[u8], "toml", "line 3: not UTF-8", utf8),
        (b"\xff\xfes\0y\0s\0", "toml", "line 1: not UTF-8", utf8),
        (
            PORTSPOOF.as_bytes(),
            "toml",
            "line 2: this line is in the format portspoof",
            "add --profile-format portspoof",
        ),
        (b"80 \"\xff\"", "toml", "line 1: this line is in the format portspoof", "add --profile-format portspoof"),
        (b"220 [\\w]+ ready\\.\\r\\n\n", "toml", "line 1: not a profile in TOML", expressions),
        (TOML.as_bytes(), "portspoof", "line 3: this line is in the format toml", "remove --profile-format"),
        (TOML.as_bytes(), "portspoof-signatures", "line 3: this line is in the format toml", "remove --profile-format"),
        (
            PORTSPOOF.as_bytes(),
            "portspoof-signatures",
            "line 2: this line is in the format portspoof",
            "add --profile-format portspoof",
        ),
        // A mistake in TOML is not taken for another format.
        (b"system = linux\n", "toml", "line 1: the value of system is not in quotes", "write system = \"linux\""),
    ] {
        let file = profile_file(text);
        let path = file.path().to_str().unwrap();
        let error = refused(&["--profile", path, "--profile-format", format, "nosuch0"], 2);
        let expected = format!("error: cannot use profile {path}: {message}\n  hint: {hint}");
        assert!(error.starts_with(&expected) && error.lines().count() == 2, "{error}");
    }
}

#[test]
fn files_of_portspoof_are_accepted() {
    let load = |text: &str, format: &str, code| {
        let file = NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap();
        refused(&["--profile", path, "--profile-format", format, "nosuch0"], code).replace(path, "FILE")
    };
    let configuration = "# A comment.\n80 \"HTTP/1\\.1 200 OK\\r\\n\"\n51-60 \"220 [\\w]+ ready\\r\\n\"\n";
    for (text, format) in [(configuration, "portspoof"), ("220 ([-.\\w]+) ready\\.\\r\\n\n(\n", "portspoof-signatures")]
    {
        assert!(load(text, format, 1).starts_with("error: no interface named \"nosuch0\"\n"), "{format}");
    }
    assert_eq!(
        load("80 \"a\"\n80\n", "portspoof", 2),
        "error: cannot use profile FILE: line 2: expected a port or a range of ports, then a payload in double quotes\n  \
         hint: a line looks like 51-60 \"220 ready\\r\\n\"; for a list of regular expressions, use the format \
         portspoof-signatures\n"
    );
    assert!(
        load("(\n", "portspoof-signatures", 2)
            .starts_with("error: cannot use profile FILE: no line can be expanded: line 1: ")
    );
    // With this format, a name is always a file.
    let error = refused(&["--profile", "router", "--profile-format", "portspoof", "nosuch0"], 2);
    assert!(error.starts_with("error: cannot read the profile router: "), "{error}");
    assert!(error.ends_with("  hint: remove --profile-format to use the built-in profile\n"), "{error}");
}

#[test]
fn built_in_profiles_are_listed_and_shown() {
    let list = tcp_bounce(&["--list-profiles"]);
    assert!(list.status.success() && list.stderr.is_empty(), "{list:?}");
    let list = String::from_utf8(list.stdout).unwrap();
    let mut rows = list.lines();
    let heading: Vec<&str> = rows.next().unwrap().split("  ").filter(|cell| !cell.is_empty()).collect();
    assert_eq!(heading.iter().map(|cell| cell.trim()).collect::<Vec<_>>(), ["NAME", "SYSTEM", "PORTS", "LOOKS LIKE"]);
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 8, "{list}");
    assert!(rows.iter().any(|row| row[..3] == ["ip-camera", "host", "80,554,8000"]), "{list}");
    for row in rows {
        let shown = tcp_bounce(&["--show-profile", row[0]]);
        assert!(shown.status.success() && shown.stderr.is_empty(), "{shown:?}");
        // The text is a profile of its own: it passes the parser, so the error is about the interface.
        let file = profile_file(shown.stdout);
        let error = refused(&["--profile", file.path().to_str().unwrap(), "nosuch0"], 1);
        assert!(error.starts_with("error: no interface named \"nosuch0\"\n"), "{error}");
    }
}

/// Returns the only line of standard error, which must be a JSON message of the type `error`.
#[track_caller]
fn json_error(arguments: &[&str], code: i32) -> Value {
    let error = refused(arguments, code);
    assert_eq!(error.lines().count(), 1, "{error}");
    let message: Value = serde_json::from_str(&error).unwrap();
    assert_eq!(message["type"], "error", "{message}");
    assert!(message["version"].is_u64(), "{message}");
    message
}

#[test]
fn usage_errors_are_json_with_json() {
    for (arguments, message, hint) in [
        (&["--json"] as &[_], "no interface given", Some("add one, as in `tcp-bounce eth1`")),
        (
            &["--colour", "--json", "eth1"],
            "unexpected argument '--colour' found",
            Some("run `tcp-bounce -h` to list the options"),
        ),
        (
            &["--json", "--event", "eth1"],
            "unexpected argument '--event' found",
            Some("a similar argument exists: '--events'"),
        ),
        (
            &["eth1", "--ports", "-22", "--json"],
            "invalid value '-22' for '--ports <LIST>': \"-22\" is not a port from 0 to 65535",
            Some("a list looks like 22,8000-8999"),
        ),
        (
            &["--mode", "fast", "--json"],
            "invalid value 'fast' for '--mode <MODE>'",
            Some("possible values: auto, native, skb, hw"),
        ),
    ] {
        let error = json_error(arguments, 2);
        assert_eq!(error["message"], message, "{error}");
        match hint {
            Some(hint) => assert!(error["hint"].as_str().unwrap().starts_with(hint), "{error}"),
            None => assert_eq!(error["hint"], Value::Null),
        }
    }
    let error = json_error(&["--json", "--exclude-ports", "0-65535", "eth1"], 2);
    assert!(error["message"].as_str().unwrap().starts_with("no port left"), "{error}");
    json_error(&["--json", "nosuch0"], 1);
    // After `--`, the word is the name of an interface.
    let error = refused(&["--ttl", "0", "--", "--json"], 2);
    assert!(error.starts_with("error: invalid value '0' for '--ttl <N>'"), "{error}");
}

#[test]
fn help_and_version_ignore_json() {
    for option in ["-h", "--help", "-V", "--version"] {
        assert_eq!(tcp_bounce(&["--json", option]).stdout, tcp_bounce(&[option]).stdout, "{option}");
    }
}

/// The headings of the help, in their order.
const HEADINGS: [&str; 6] = ["Arguments:", "Selection:", "Behaviour:", "Output:", "SYN-ACK:", "Diagnostics:"];

fn help(option: &str) -> String {
    let output = tcp_bounce(&[option]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn short_help_has_one_line_per_option() {
    let help = help("-h");
    assert!(help.lines().count() <= 48, "{help}");
    for line in help.lines() {
        assert!(line.chars().count() <= 100, "{line}");
        // A continuation line is indented farther than any option.
        assert!(!line.starts_with("        "), "{line}");
    }
    let headings: Vec<&str> = help.lines().filter(|line| HEADINGS.contains(line)).collect();
    assert_eq!(headings, HEADINGS);
    let end = "\nRun `tcp-bounce --help` for details and examples, and `tcp-bounce probe -h` to probe ports.\n";
    assert!(help.ends_with(end), "{help}");
}

#[test]
fn long_help_has_values_examples_and_documentation() {
    let help = help("--help");
    for words in
        ["\n          - tarpit:  ", "\n          - native: ", "[default: 10s]", "\nExamples:\n", "\nDocumentation:\n"]
    {
        assert!(help.contains(words), "{words} {help}");
    }
    for place in ["man tcp-bounce", "/usr/share/doc/tcp-bounce/docs", "docs/"] {
        assert!(help.contains(place), "{place} {help}");
    }
    let examples = help.lines().filter_map(|line| line.strip_prefix("    sudo tcp-bounce "));
    let examples: Vec<&str> = examples.collect();
    assert_eq!(examples.len(), 5, "{help}");
    assert!(examples.iter().any(|example| example.starts_with("--profile ")), "{help}");
    for example in examples {
        let arguments: Vec<&str> =
            example.split(' ').map(|word| if word == "eth1" { "nosuch0" } else { word }).collect();
        refused(&arguments, 1);
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
}

#[test]
fn probe_has_its_own_help() {
    let [short, long] = ["-h", "--help"].map(|option| {
        let output = tcp_bounce(&["probe", option]);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    });
    assert!(short.lines().count() <= 30, "{short}");
    assert!(short.ends_with("\nRun `tcp-bounce probe --help` for details, values and examples.\n"), "{short}");
    for option in
        ["--ports", "--ipv4", "--ipv6", "--rate", "--timeout", "--retries", "--format", "--expect", "--far", "HOST"]
    {
        assert!(short.contains(option) && long.contains(option), "{option} {short}");
    }
    for line in short.lines().chain(long.lines()) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(long.contains("\nExit status:\n"), "{long}");
}

#[test]
fn malformed_arguments_of_probe_are_refused() {
    for (arguments, code, message, hint) in [
        (
            "",
            2,
            "no host given",
            "add one, as in `tcp-bounce probe 192.0.2.1`; `tcp-bounce probe -h` lists the options",
        ),
        ("--colour ::1", 2, "unexpected argument '--colour' found", "run `tcp-bounce probe -h` to list the options"),
        (
            "--ports 9-x ::1",
            2,
            "invalid value '9-x' for '--ports <LIST>': \"x\" is not a port from 0 to 65535",
            "a list looks like 22,8000-8999",
        ),
        ("--format xml ::1", 2, "invalid value 'xml' for '--format <FORMAT>'", "possible values: text, json, junit"),
        ("-4 -6 ::1", 2, "the argument '--ipv4' cannot be used with '--ipv6'", "remove one of these options"),
        ("-4 ::1", 2, "\"::1\" has no IPv4 address", "remove --ipv4"),
        ("-6 127.0.0.1", 2, "\"127.0.0.1\" has no IPv6 address", "remove --ipv6"),
    ] {
        let arguments: Vec<&str> = ["probe"].into_iter().chain(arguments.split_whitespace()).collect();
        assert_eq!(refused(&arguments, code), format!("error: {message}\n  hint: {hint}\n"), "{arguments:?}");
        let error = json_error(&[&arguments[..], &["--format=json"]].concat(), code);
        if !arguments.contains(&"xml") {
            assert_eq!((&error["message"], &error["hint"]), (&message.into(), &hint.into()));
        }
    }
    for arguments in ["--rate 0", "--rate 1000001", "--retries 101", "--timeout 0s", "--timeout 5"] {
        let arguments: Vec<&str> = ["probe", "::1"].into_iter().chain(arguments.split(' ')).collect();
        let error = refused(&arguments, 2);
        assert!(error.contains(": not a number from ") || error.contains(": not a duration above zero"), "{error}");
    }
    for host in ["no such host", "", "[]"] {
        let error = refused(&["probe", "--ports", "1", host], 1);
        assert!(error.starts_with(&format!("error: cannot resolve {host:?}: ")), "{error}");
        assert!(error.ends_with("\n  hint: check the name, or use an address\n"), "{error}");
    }
}

#[test]
fn mistakes_in_a_policy_are_refused_with_their_line() {
    let probe = |path: &str| refused(&["probe", "--ports", "1", "--expect", path, "127.0.0.1"], 2);
    for (text, message) in [
        (
            "[[rule]]\nprots = 22\nopen = true\n",
            "line 2: \"prots\" is not a key of a rule\n  hint: did you mean ports?\n",
        ),
        (
            "\n[[rule]]\nports = \"22-x\"\nopen = true\n",
            "line 3: \"x\" is not a port from 0 to 65535\n  hint: a list looks like 22,8000-8999\n",
        ),
        (
            "[[rule]]\nopen = true\nto = \"web1\"\n",
            "line 3: \"web1\" is not an address or a prefix\n  hint: a list looks like 192.0.2.1,10.0.0.0/8,2001:db8::/32\n",
        ),
    ] {
        let file = profile_file(text);
        let path = file.path().to_str().unwrap();
        assert_eq!(probe(path), format!("error: cannot use the policy {path}: {message}"));
    }
    let binary = profile_file([0xff, 0xfe]);
    for (path, reason) in [
        ("./nosuch.toml", "No such file or directory (os error 2)"),
        ("/dev/zero", "file too large"),
        (binary.path().to_str().unwrap(), "invalid utf-8 sequence of 1 bytes from index 0"),
    ] {
        assert_eq!(probe(path), format!("error: cannot read the policy {path}: {reason}\n"));
    }
}

#[test]
fn an_interface_can_be_called_probe() {
    for arguments in [&["--", "probe"] as &[_], &["--mode", "skb", "probe"], &["nosuch0", "probe"]] {
        let error = refused(arguments, 1);
        assert!(error.starts_with("error: no interface named \""), "{error}");
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
            "--profile",
            "--profile linux-server",
            "--profile-format",
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
fn refuses_unknown_and_conflicting_actions() {
    for value in ["", "nothing", "Drop", "echo:", "echo:x", "echo:9-7", "echo:65536", ":7", "echo 7", "echo:7:8"] {
        let error = refused(&["--on-connect", value, "nosuch0"], 2);
        assert!(error.contains("--on-connect"), "{value:?} {error}");
    }
    let unknown = refused(&["--on-connect", "close:80", "--on-connect", "hang", "nosuch0"], 2);
    let words = ": \"hang\" is not one of ignore, reset, close, discard, echo, tarpit, identify, identify=json\n  \
                 hint: an action with ports looks";
    assert!(unknown.contains(words), "{unknown}");
    for (arguments, words) in [
        (
            ["--on-connect", "echo:7-9", "--on-connect", "discard:9"],
            "--on-connect selects two actions for port 9: echo and discard",
        ),
        (
            ["--on-connect", "close", "--on-connect", "reset"],
            "--on-connect selects two actions without ports: close and reset",
        ),
    ] {
        let error = refused(&[&arguments[..], &["nosuch0"]].concat(), 2);
        assert!(error.contains(words) && error.contains("  hint: "), "{error}");
    }
}
