//! Tests of the parser of profiles: a complete profile, and the message of each rule.

use tcp_bounce_wire::Ending;

use crate::config::{PayloadConfig, Prefix, Profile, ProfileError, ReplyConfig, ServiceConfig, ServicePorts, System};

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
        ReplyConfig { prefix, payload: payload.into() }
    };
    let web = ServiceConfig {
        name: Some("web".into()),
        ports: ServicePorts::Pattern("80,8080-8081,random:3".parse().unwrap()),
        banner: PayloadConfig::default(),
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
        banner: b"{\0\xffport}"[..].into(),
        replies: Vec::new(),
        ending: Ending::Reset,
    };
    let others = ServiceConfig {
        name: None,
        ports: ServicePorts::Others,
        banner: b"first\n{other}"[..].into(),
        replies: Vec::new(),
        ending: Ending::Stay,
    };
    assert_eq!((profile.name(), profile.system()), ("test", System::Windows10));
    assert_eq!(profile.services(), [web.clone(), bytes.clone(), others]);
    assert!(web.depends_on_port() && !bytes.depends_on_port());
    assert!(!web.has_fields() && !bytes.has_fields());
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
fn refuses_values_of_the_wrong_type() {
    const PORTS: &str = "write ports = \"22,8000-8999\"";
    const REPLIES: &str = "write replies = [{ send = \"...\" }]";
    for (text, message, hint) in [
        ("\n[service]\nports = 1", "line 2: service must be a list of tables, not a table", "write [[service]]"),
        ("service = [\n\"a\"]", "line 2: each service must be a table, not a string", "write [[service]]"),
        ("\nsystem = 1", "line 2: system must be a string, not a number", "write system = \"linux\""),
        ("[[service]]\nports = true", "line 2: ports must be a string, not a boolean", PORTS),
        ("[[service]]\nports = [22, 80]", "line 2: ports must be a string, not a list", PORTS),
        ("[[service]]\nports = 22.8", "line 2: ports must be a string, not a number", PORTS),
        ("[[service]]\nports = 2024-01-01", "line 2: ports must be a string, not a date or time", PORTS),
        ("[[service]]\nports = 9\nname = 1", "line 3: name must be a string, not a number", "write name = "),
        ("[[service]]\nports = 9\nend = true", "line 3: end must be a string, not a boolean", "write end = \"stay\", "),
        ("[[service]]\nports = 9\nreplies = \"a\"", "line 3: replies must be a list, not a string", REPLIES),
        ("[[service]]\nports = 9\nreplies = { send = \"a\" }", "line 3: replies must be a list, not a table", REPLIES),
        (
            "[[service]]\nports = 9\nreplies = [\n\"a\"]",
            "line 4: each reply must be a table such as { send = \"...\" }, not a string",
            REPLIES,
        ),
        (
            "[[service]]\nports = 9\nbanner = 5",
            "line 3: banner must be a string, { hex = \"...\" } or a list of both, not a number",
            "write banner = \"220 ready\\r\\n\"",
        ),
        (
            "[[service]]\nports = 9\nbanner = [\"a\",\nfalse]",
            "line 4: an item of banner must be a string or { hex = \"...\" }, not a boolean",
            "write banner = ",
        ),
        (
            "[[service]]\nports = 9\nreplies = [{\nsend = 5 }]",
            "line 4: send must be a string, { hex = \"...\" } or a list of both, not a number",
            "write send = ",
        ),
        ("[[service]]\nports = 9\nbanner = { hex = 5 }", "line 3: hex must be a string, not a number", "write hex = "),
    ] {
        let (found, advice) = refusal(text);
        assert_eq!(found, message, "{text}");
        assert!(advice.starts_with(hint), "{text}: {advice}");
    }
}

#[test]
fn refuses_unknown_keys() {
    for (text, message, hint) in [
        ("\nnam = \"x\"", "line 2: \"nam\" is not a key of a profile", "use system, and [[service]] for each service"),
        ("\n[[services]]\nports = 1", "line 2: \"services\" is not a key of a profile", "write [[service]]"),
        ("\n[[Service]]\nports = 1", "line 2: \"Service\" is not a key of a profile", "write [[service]]"),
        ("\n[ssh]\nports = 1", "line 2: \"ssh\" is not a key of a profile", "write [[service]]"),
        ("[[service]]\nPorts = 1", "line 2: \"Ports\" is not a key of a service", "did you mean ports?"),
        ("[[service]]\nreply = []", "line 2: \"reply\" is not a key of a service", "did you mean replies?"),
        (
            "[[service]]\nxyz = 1",
            "line 2: \"xyz\" is not a key of a service",
            "use one of name, ports, banner, replies, end",
        ),
        ("ports = 1", "line 1: \"ports\" is not a key of a profile", "write it below [[service]]"),
        ("replies = [{ send = 1 }]", "line 1: \"replies\" is not a key of a profile", "write it below [[service]]"),
        (
            "[[service]]\nports = 1\n\nbaner = \"\"",
            "line 4: \"baner\" is not a key of a service",
            "did you mean banner?",
        ),
        ("[[service]]\n\"a\\n\" = 1", "line 2: \"a\\n\" is not a key of a service", "use one of name, ports, "),
        (
            "[[service]]\nports = 1\nsystem = \"linux\"",
            "line 3: \"system\" is not a key of a service",
            "write it above the first",
        ),
        (
            "[[service]]\nsend = \"a\"",
            "line 2: \"send\" is not a key of a service",
            "write it in a reply, as in replies = [{ ",
        ),
        (
            "[[service]]\nports = 1\nreplies = [\n{ snd = \"a\" }]",
            "line 4: \"snd\" is not a key of a reply",
            "did you mean send?",
        ),
        (
            "[[service]]\nports = 1\nreplies = [\n{ send = \"a\", end = \"close\" }]",
            "line 4: \"end\" is not a key of a reply",
            "write it outside of replies",
        ),
        (
            "[[service]]\nports = 1\nbanner = { hax = \"\" }",
            "line 3: \"hax\" is not a key of a payload in braces",
            "bytes look like { hex = \"ff fd 18\" }",
        ),
    ] {
        let (found, advice) = refusal(text);
        assert_eq!(found, message, "{text}");
        assert!(advice.starts_with(hint), "{text}: {advice}");
    }
}

#[test]
fn refuses_missing_keys() {
    for (text, message, hint) in [
        ("[[service]]\nbanner = \"a\"", "line 1: the service has no ports", "add ports = \"22,8000-8999\""),
        ("[[service]]\nports = 1\nbanner = { }", "line 3: the payload in braces has no hex", "add hex = \"ff fd 18\""),
        ("[[service]]\nports = 1\nreplies = [\n  { },\n]", "line 4: the reply has no send", "add send = \"...\""),
    ] {
        let (found, advice) = refusal(text);
        assert_eq!(found, message, "{text}");
        assert!(advice.starts_with(hint), "{text}: {advice}");
    }
}

#[test]
fn refuses_an_unknown_end() {
    let (message, hint) = refusal("[[service]]\nports = 1\nbanner = \"a\"\nend = \"open\"");
    assert_eq!(
        (message.as_str(), hint.as_str()),
        ("line 4: \"open\" is not a known end", "use one of stay, close, reset")
    );
}

/// The mistakes are of all kinds, and the checks find them in another order than that of their lines.
#[test]
fn names_the_first_of_several_mistakes() {
    let mut lines = vec![
        "system = \"amiga\"",
        "[[service]]",
        "name = 1",
        "ports = \"22,\"",
        "banner = { hex = \"0\" }",
        "replies = [",
        "{ prefix = \"\", send = \"a\" },",
        "{ sent = \"a\" },",
        "{ send = \"\\xff\" }]",
        "end = \"open\"",
        "unknown = 1",
    ];
    for (line, text) in [
        (1, "system = \"linux\""),
        (3, "name = \"a\""),
        (4, "ports = \"22\""),
        (5, "banner = { hex = \"00\" }"),
        (7, "{ prefix = \"a\", send = \"a\" },"),
        (8, "{ prefix = \"b\", send = \"a\" },"),
        (9, "{ send = \"\" }]"),
        (9, "{ prefix = \"c\", send = \"a\" }]"),
        (10, "end = \"close\""),
        (11, ""),
    ] {
        let (message, _) = refusal(&lines.join("\n"));
        assert!(message.starts_with(&format!("line {line}: ")), "{line} {message}");
        lines[line - 1] = text;
    }
    assert!(parse(&lines.join("\n")).is_ok());
}

#[test]
fn mistakes_in_a_string_of_several_lines_have_their_own_line() {
    assert_eq!(service("banner = \"\"\"\\\na\\r\\n\\\nb\\xff\"\"\""), "line 5: \\xff is a character of two bytes");
    assert_eq!(service("banner = { hex = \"\"\"\n00 01\n0z\"\"\" }"), "line 5: 'z' is not a hexadecimal digit");
    assert_eq!(service("banner = { hex = \"\"\"\\\n00 01\\\n0z\"\"\" }"), "line 5: 'z' is not a hexadecimal digit");
    assert_eq!(service("banner = [\n\"a\",\n{ hex = \"0z\" }]"), "line 5: 'z' is not a hexadecimal digit");
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
    for lines in ["banner = \"\"", "banner = { hex = \"\" }", "banner = []"] {
        assert_eq!(service(lines), "line 3: the banner is empty", "{lines}");
    }
    for lines in ["", "replies = []"] {
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
    assert_eq!(service(&replies(6)), "line 8: the service has 6 replies; the limit is 4");
}

#[test]
fn refuses_prefixes_that_are_empty_or_long() {
    let reply = |prefix: &str| format!("replies = [{{ prefix = {prefix},\n send = \"a\" }}]");
    for prefix in ["\"12345678\"", "{ hex = \"0102030405060708\" }", "\"{port}\"", "\"\u{e4}\u{e4}\u{e4}\u{e4}\""] {
        assert!(parse(&format!("[[service]]\nports = 9\n{}", reply(prefix))).is_ok(), "{prefix}");
    }
    for prefix in ["\"\"", "{ hex = \"\" }"] {
        assert_eq!(service(&reply(prefix)), "line 3: the prefix is empty", "{prefix}");
    }
    for prefix in ["\"123456789\"", "\"\u{e4}\u{e4}\u{e4}\u{e4}1\""] {
        assert_eq!(service(&reply(prefix)), "line 3: the prefix is 9 bytes long; the limit is 8", "{prefix}");
    }
}

#[test]
fn refuses_payloads_that_do_not_fit_into_a_segment() {
    let text = |length: usize| format!("\"{}\"", "x".repeat(length));
    let hex = |length: usize| format!("{{ hex = \"{}\" }}", "00 ".repeat(length));
    let with_port = |length: usize| format!("\"{}{{port}}\"", "x".repeat(length - 5));
    let with_client = |length: usize| format!("\"{}{{client}}{{client_port}}\"", "x".repeat(length - 39 - 5));
    let with_date = |length: usize| format!("\"{{date}}{}\"", "x".repeat(length - 31));
    for payload in [&text as &dyn Fn(usize) -> String, &hex, &with_port, &with_client, &with_date] {
        for (line, kind, lines) in [
            (3, "banner", &(|payload| format!("banner = {payload}")) as &dyn Fn(String) -> String),
            (4, "reply", &|payload| format!("replies = [\n{{ send = {payload} }}]")),
        ] {
            assert!(parse(&format!("[[service]]\nports = 9\n{}", lines(payload(1208)))).is_ok());
            assert_eq!(
                service(&lines(payload(1300))),
                format!("line {line}: the {kind} is 1300 bytes long; the limit is 1208")
            );
            assert!(service(&lines(payload(1209))).contains(" is 1209 bytes long; "));
        }
    }
}

#[test]
fn refuses_more_placeholders_of_clients_than_the_program_renders() {
    let four = "{client}{client_port}{server}{client}";
    assert!(parse(&format!("[[service]]\nports = 9\nbanner = \"{four}{{port}}{{date}}{{other}}\"")).is_ok());
    let (message, hint) = refusal(&format!("[[service]]\nports = 9\nbanner = \"{four}{{server}}\""));
    assert_eq!(message, "line 3: the banner has 5 {client}, {client_port} or {server} placeholders; the limit is 4");
    assert_eq!(hint, "remove some of {client}, {client_port} and {server}");
    assert!(service(&format!("replies = [{{ send = \"{four}{four}\" }}]")).contains("the reply has 8 {client}, "));
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

/// Only strings have placeholders, and each string has its own.
#[test]
fn hexadecimal_bytes_have_no_placeholders() {
    for (banner, depends_on_port) in
        [("{ hex = \"7b706f72747d\" }", false), ("[\"{po\", { hex = \"72747d\" }]", false), ("[\"{port}\"]", true)]
    {
        let profile = parse(&format!("[[service]]\nports = 9\nbanner = {banner}")).unwrap();
        assert_eq!(profile.services()[0].depends_on_port(), depends_on_port, "{banner}");
    }
}

#[test]
fn refuses_escapes_that_are_two_bytes() {
    for escape in ["\\xff", "\\x80", "a\\\\\\xFd"] {
        let name = escape.trim_start_matches("a\\\\");
        assert_eq!(service(&format!("banner = \"{escape}\"")), format!("line 3: {name} is a character of two bytes"));
    }
    for (escape, bytes) in [("\\x7f", "\x7f"), ("\\\\xff", "\\xff"), ("\\u00ff", "\u{ff}"), ("\u{ff}", "\u{ff}")] {
        let profile = parse(&format!("[[service]]\nports = 9\nbanner = \"{escape}\"")).unwrap();
        assert_eq!(profile.services()[0].banner.text(), bytes.as_bytes());
    }
    assert_eq!(parse("[[service]]\nports = 9\nbanner = '\\xff'").unwrap().services()[0].banner.text(), b"\\xff");
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
    for text in ["\"80,others\"", "\"others, others\""] {
        let (message, hint) = ports(text);
        assert_eq!(message, "line 3: \"others\" cannot be combined with other ports", "{text}");
        assert!(hint.starts_with("write ports = \"others\""), "{text} {hint}");
    }
}

/// Returns a profile with a service for each of `ports`. The ports of service number N are in line 3N + 2.
fn services(ports: &[&str]) -> String {
    ports.iter().map(|ports| format!("[[service]]\nports = \"{ports}\"\nbanner = \"a\"\n")).collect()
}

#[test]
fn refuses_two_services_on_a_port() {
    assert_eq!(
        refusal(&services(&["1-20", "30", "25,20"])),
        ("line 8: port 20 already belongs to the service in line 2".into(), "list port 20 for one service only".into())
    );
    assert_eq!(refusal(&services(&["others", "30", "others"])).0, "line 8: \"others\" is already used in line 2");
    assert_eq!(
        refusal(&format!("[[service]]\nname = \"web\"\nports = 20\nbanner = \"a\"\n{}", services(&["20"]))).0,
        "line 6: port 20 already belongs to the service \"web\" in line 3"
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
