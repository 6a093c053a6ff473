//! Tests of the parser of profiles: a complete profile, and the message of each rule.

use tcp_bounce_wire::Ending;

use crate::config::{Prefix, Profile, ProfileError, ReplyConfig, ServiceConfig, ServicePorts, System};

fn parse(text: &str) -> Result<Profile, ProfileError> {
    Profile::parse(text, "test")
}

/// Returns the message and the hint for a profile that breaks a rule.
fn refusal(text: &str) -> (String, String) {
    let error = parse(text).expect_err(text);
    (error.to_string(), error.hint().unwrap_or_default())
}

/// Returns the message for a profile with one service on port 9 and these further lines.
fn service(lines: &str) -> String {
    refusal(&format!("[[service]]\nports = 9\n{lines}\n")).0
}

const COMPLETE: &str = r#"
        # A comment.
        system = "windows-10"

        [[service]]
        name = "web"
        ports = "80,8080-8081,random:3"
        replies = [
          { prefix = "GET ", send = "HTTP/1.1 200 OK\r\n\r\n{port}" },
          { prefix = { hex = "16 03" }, send = { hex = "15 03 01" } },
          { send = 'a\n' },
        ]
        end = "close"

        [[service]]
        ports = 22
        banner = ["{", { hex = "00ff" }, ["port", "}"]]
        end = "reset"

        [[service]]
        ports = "others"
        banner = """
first
{other}"""
"#;

#[test]
fn reads_every_key() {
    let profile = parse(COMPLETE).unwrap();
    let reply = |text: &str, bytes: &[u8], payload: &[u8]| {
        let mut prefix = Prefix::default();
        prefix.push_text(text);
        prefix.push_exact(bytes);
        ReplyConfig { prefix, payload: payload.to_owned() }
    };
    let web = ServiceConfig {
        name: Some("web".into()),
        ports: ServicePorts::Pattern("80,8080-8081,random:3".parse().unwrap()),
        banner: Vec::new(),
        replies: vec![
            reply("GET ", b"", b"HTTP/1.1 200 OK\r\n\r\n{port}"),
            reply("", &[0x16, 3], &[0x15, 3, 1]),
            reply("", b"", b"a\\n"),
        ],
        ending: Ending::Close,
    };
    let bytes = ServiceConfig {
        name: None,
        ports: ServicePorts::Pattern("22".parse().unwrap()),
        banner: b"{\0\xffport}".to_vec(),
        replies: Vec::new(),
        ending: Ending::Reset,
    };
    let others = ServiceConfig {
        name: None,
        ports: ServicePorts::Others,
        banner: b"first\n{other}".to_vec(),
        replies: Vec::new(),
        ending: Ending::Stay,
    };
    assert_eq!((profile.name(), profile.system()), ("test", System::Windows10));
    assert_eq!(profile.services(), [web.clone(), bytes.clone(), others]);
    assert!(web.depends_on_port() && !bytes.depends_on_port());
    assert_eq!(web.on_port(8080).replies[0].payload, b"HTTP/1.1 200 OK\r\n\r\n8080");
    assert_eq!(bytes.on_port(22), bytes);
}

/// Returns whether `data` matches, as the program compares it.
fn matches(prefix: &Prefix, data: &[u8]) -> bool {
    let masked: Vec<u8> = data.iter().zip(prefix.mask()).map(|(byte, mask)| byte & mask).collect();
    masked == prefix.bytes()
}

#[test]
fn text_of_a_prefix_matches_in_both_cases_and_hexadecimal_exactly() {
    let prefix = |prefix: &str| {
        let text = format!("[[service]]\nports = 1\nreplies = [{{ prefix = {prefix}, send = \"a\" }}]");
        parse(&text).unwrap().services()[0].replies[0].prefix.clone()
    };
    for (text, data, expected) in [
        ("\"EHLO \"", "ehlo mail", true),
        ("\"ehlo \"", "EHLO mail", true),
        ("\"EHLO \"", "EHLO\0mail", false),
        ("\"EHLO \"", "EHL", false),
        ("\"@[`{1\"", "@[`{1", true),
        ("\"@\"", "`", false),
        ("\"[\"", "{", false),
        ("{ hex = \"41\" }", "A", true),
        ("{ hex = \"41\" }", "a", false),
        ("[{ hex = \"41\" }, \"b\"]", "AB", true),
        ("[{ hex = \"41\" }, \"b\"]", "ab", false),
    ] {
        assert_eq!(matches(&prefix(text), data.as_bytes()), expected, "{text} {data}");
    }
}

#[test]
fn every_system_has_a_name() {
    for system in System::ALL {
        let text = format!("system = \"{system}\"\n[[service]]\nports = 1\nbanner = \"a\"");
        assert_eq!(parse(&text).unwrap().system(), system);
    }
    assert_eq!(parse("[[service]]\nports = 1\nbanner = \"a\"").unwrap().system(), System::Host);
}

#[test]
fn refuses_malformed_files() {
    for (text, message) in [
        ("\n[service]\nports = 1", "line 2: invalid type: map, expected a sequence"),
        ("\nname = \"x\"", "line 2: unknown field `name`, expected `system` or `service`"),
        (
            "[[service]]\nports = 1\n\nbaner = \"\"",
            "line 4: unknown field `baner`, expected one of `name`, `ports`, `banner`, `replies`, `end`",
        ),
        ("[[service]]\nbanner = \"a\"", "line 1: missing field `ports`"),
        (
            "[[service]]\nports = true",
            "line 2: invalid type: boolean `true`, expected a string with ports, such as \"22,8000-8999\"",
        ),
        (
            "[[service]]\nports = 1\nbanner = 5",
            "line 3: invalid type: integer `5`, expected a string, bytes such as { hex = \"ff fd 18\" }, or a list of both",
        ),
        ("[[service]]\nports = 1\nbanner = { hax = \"\" }", "line 3: unknown field `hax`, expected `hex`"),
        ("[[service]]\nports = 1\nbanner = { }", "line 3: missing field `hex`"),
        (
            "[[service]]\nports = 1\nbanner = \"a\"\nend = \"open\"",
            "line 4: unknown variant `open`, expected one of `stay`, `close`, `reset`",
        ),
        ("[[service]]\nports = 1\nreplies = [\n  { },\n]", "line 4: missing field `send`"),
        ("[[service]]\nports = 1\nports = 2", "line 3: duplicate key"),
        ("[[service]]\nports = 1\nbanner = \"a", "line 3: invalid basic string, expected `\"`"),
        (
            "[[service]]\nports = 1\nbanner = \"\\q\"",
            "line 3: missing escaped value, expected `b`, `e`, `f`, `n`, `r`, `\\`, `\"`, `x`, `u`, `U`",
        ),
    ] {
        assert_eq!(refusal(text).0, message, "{text}");
    }
}

#[test]
fn refuses_an_unknown_system() {
    let (message, hint) = refusal("\n\nsystem = \"amiga\\n\"\n[[service]]\nports = 1\nbanner = \"a\"");
    assert_eq!(message, "line 3: \"amiga\\n\" is not a known system");
    assert_eq!(
        hint,
        "use one of host, linux, windows-server-2016, windows-10, freebsd, macos, openbsd, cisco-ios, lwip"
    );
}

#[test]
fn refuses_profiles_and_services_that_send_nothing() {
    assert_eq!(refusal("").0, "it has no service");
    assert_eq!(refusal("system = \"linux\"").0, "it has no service");
    for lines in ["", "banner = \"\"", "replies = []", "banner = { hex = \"\" }"] {
        assert_eq!(service(lines), "line 1: the service has neither a banner nor replies", "{lines}");
    }
    for send in ["\"\"", "{ hex = \" \" }"] {
        assert_eq!(service(&format!("replies = [\n  {{ send = {send} }}\n]")), "line 4: the reply is empty");
    }
}

#[test]
fn refuses_too_many_replies() {
    let replies = |count: usize| {
        let replies: String =
            (0..count).map(|number| format!("{{ prefix = \"{number}\", send = \"a\" }},\n")).collect();
        format!("replies = [\n{replies}]")
    };
    assert!(parse(&format!("[[service]]\nports = 9\n{}", replies(4))).is_ok());
    assert_eq!(service(&replies(6)), "line 8: the service has 6 replies, and at most 4 are supported");
}

#[test]
fn refuses_prefixes_that_are_empty_or_long() {
    let reply = |prefix: &str| format!("replies = [{{ prefix = {prefix},\n send = \"a\" }}]");
    for prefix in ["\"12345678\"", "{ hex = \"0102030405060708\" }", "\"{port}\"", "\"\u{e4}\u{e4}\u{e4}\u{e4}\""] {
        assert!(parse(&format!("[[service]]\nports = 9\n{}", reply(prefix))).is_ok(), "{prefix}");
    }
    for (prefix, length) in
        [("\"\"", 0), ("{ hex = \"\" }", 0), ("\"123456789\"", 9), ("\"\u{e4}\u{e4}\u{e4}\u{e4}1\"", 9)]
    {
        assert_eq!(
            service(&reply(prefix)),
            format!("line 3: the prefix has {length} bytes, and a prefix has 1 to 8"),
            "{prefix}"
        );
    }
}

#[test]
fn refuses_payloads_that_do_not_fit_into_a_segment() {
    let text = |length: usize| format!("\"{}\"", "x".repeat(length));
    let hex = |length: usize| format!("{{ hex = \"{}\" }}", "00 ".repeat(length));
    let with_port = |length: usize| format!("\"{}{{port}}\"", "x".repeat(length - 5));
    for payload in [&text as &dyn Fn(usize) -> String, &hex, &with_port] {
        for (line, kind, lines) in [
            (3, "banner", &(|payload| format!("banner = {payload}")) as &dyn Fn(String) -> String),
            (4, "reply", &|payload| format!("replies = [\n{{ send = {payload} }}]")),
        ] {
            assert!(parse(&format!("[[service]]\nports = 9\n{}", lines(payload(1208)))).is_ok());
            assert_eq!(
                service(&lines(payload(1300))),
                format!("line {line}: the {kind} has 1300 bytes, and one segment carries at most 1208")
            );
            assert!(service(&lines(payload(1209))).contains(" has 1209 bytes, "));
        }
    }
}

#[test]
fn refuses_replies_that_are_never_sent() {
    for (first, second) in [
        ("", "prefix = \"a\","),
        ("", ""),
        ("prefix = \"GE\",", "prefix = \"GET\","),
        ("prefix = \"get\",", "prefix = \"GET\","),
        ("prefix = \"get\",", "prefix = { hex = \"47 45 54\" },"),
    ] {
        let lines =
            format!("end = \"close\"\nreplies = [\n{{ {first} send = \"a\" }},\n{{ {second} send = \"b\" }},\n]");
        assert_eq!(
            service(&lines),
            "line 6: the reply is never sent, because an earlier reply matches the same data",
            "{first} {second}"
        );
    }
}

#[test]
fn keeps_replies_that_match_other_data() {
    for (first, second) in [
        ("\"GET\"", "\"GE\""),
        ("\"GET\"", "\"HEAD\""),
        ("{ hex = \"47 45 54\" }", "\"GET\""),
        ("{ hex = \"47 45 54\" }", "{ hex = \"67 45 54\" }"),
    ] {
        let replies =
            format!("replies = [{{ prefix = {first}, send = \"a\" }}, {{ prefix = {second}, send = \"b\" }}]");
        assert!(parse(&format!("[[service]]\nports = 9\n{replies}")).is_ok(), "{first} {second}");
    }
}

#[test]
fn refuses_an_open_service_that_would_reply_twice() {
    let lines =
        |end| format!("end = \"{end}\"\nreplies = [\n{{ prefix = \"a\", send = \"a\" }},\n{{ send = \"b\" }},\n]");
    assert_eq!(
        service(&lines("stay")),
        "line 6: a service that stays open cannot have a reply without prefix beside other replies"
    );
    for end in ["close", "reset"] {
        assert!(parse(&format!("[[service]]\nports = 9\n{}", lines(end))).is_ok());
    }
    assert!(parse("[[service]]\nports = 9\nreplies = [{ send = \"a\" }]").is_ok());
}

#[test]
fn refuses_malformed_bytes() {
    assert_eq!(service("banner = { hex = \"0g\" }"), "line 3: 'g' is not a hexadecimal digit");
    assert_eq!(service("banner = { hex = \"012\" }"), "line 3: the number of hexadecimal digits is odd: 3");
}

#[test]
fn refuses_escapes_that_are_two_bytes() {
    for escape in ["\\xff", "\\x80", "a\\\\\\xFd"] {
        let name = escape.trim_start_matches("a\\\\");
        assert_eq!(service(&format!("banner = \"{escape}\"")), format!("line 3: {name} is a character of two bytes"));
    }
    for (escape, bytes) in [("\\x7f", "\x7f"), ("\\\\xff", "\\xff"), ("\\u00ff", "\u{ff}"), ("\u{ff}", "\u{ff}")] {
        let profile = parse(&format!("[[service]]\nports = 9\nbanner = \"{escape}\"")).unwrap();
        assert_eq!(profile.services()[0].banner, bytes.as_bytes());
    }
    assert_eq!(parse("[[service]]\nports = 9\nbanner = '\\xff'").unwrap().services()[0].banner, b"\\xff");
}

#[test]
fn refuses_malformed_ports() {
    let ports = |ports: &str| refusal(&format!("[[service]]\nbanner = \"a\"\nports = {ports}\n"));
    assert_eq!(ports("70000").0, "line 3: \"70000\" is not a port from 0 to 65535");
    assert_eq!(ports("-5").0, "line 3: \"-5\" is not a port from 0 to 65535");
    assert_eq!(
        ports("\"22,\""),
        ("line 3: empty entry in the port list".into(), "a list looks like 22,8000-8999, random:20 or share:3%".into())
    );
}

/// Returns a profile with a service for each of `ports`. The ports of service number N are in line 3N + 2.
fn services(ports: &[&str]) -> String {
    ports.iter().map(|ports| format!("[[service]]\nports = \"{ports}\"\nbanner = \"a\"\n")).collect()
}

#[test]
fn refuses_two_services_on_a_port() {
    assert_eq!(
        refusal(&services(&["1-20", "30", "25,20"])),
        ("line 8: port 20 has a service already, in line 2".into(), "list port 20 for one service only".into())
    );
    assert_eq!(
        refusal(&services(&["others", "30", "others"])).0,
        "line 8: the other ports have a service already, in line 2"
    );
    assert!(parse(&services(&["1-20", "21", "0"])).is_ok());
}

#[test]
fn refuses_to_select_more_ports_than_there_are() {
    for (ports, message) in [
        (&["1-65530", "random:6"] as &[_], "line 5: the service selects 6 ports, and 5 are left"),
        (&["random:6", "1-65530"], "line 2: the service selects 6 ports, and 5 are left"),
        (&["random:4", "random:2", "0-65530"], "line 5: the service selects 2 ports, and 1 are left"),
        (&["share:60%", "share:60%"], "line 5: the service selects 39321 ports, and 26214 are left"),
        (&["random:65535,random:1"], "line 2: the service selects 65536 ports, and 65535 are left"),
    ] {
        assert_eq!(refusal(&services(ports)).0, message, "{ports:?}");
    }
    assert!(parse(&services(&["random:5", "0-65530"])).is_ok());
    assert!(parse(&services(&["share:100%", "0", "others"])).is_ok());
}
