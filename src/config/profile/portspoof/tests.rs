//! Tests of portspoof's files.

use super::*;

const KEY: [u8; 16] = *b"0123456789abcdef";

fn portspoof(text: &str) -> Result<Profile, ProfileError> {
    Profile::parse_portspoof(text.as_bytes(), "portspoof.conf", &KEY)
}

/// Returns the banner of `port`, or nothing if the port has no service.
fn banner(profile: &Profile, port: u16) -> Option<Vec<u8>> {
    profile.ports(&KEY).get(&port).map(|&index| profile.services()[index].banner.text())
}

#[test]
fn lines_have_ports_and_a_payload() {
    let profile = portspoof(
        "# A comment.\n\n1 \"550 12345\"\r\n51-53 \"550 4m2v4 (FUZZ)\"\n52\t\"\\x20\\x41\\\\x\\r\\n\\0\"  # trailing\n",
    )
    .unwrap();
    assert_eq!(profile.ports(&KEY).len(), 4);
    for (port, expected) in
        [(1, b"550 12345" as &[_]), (51, b"550 4m2v4 FUZZ"), (53, b"550 4m2v4 FUZZ"), (52, b" A\\x\r\n\0")]
    {
        assert_eq!(banner(&profile, port).unwrap(), expected, "{port}");
    }
    assert_eq!((profile.system(), profile.skipped_lines()), (System::Host, 0));
    assert!(profile.services().iter().all(|service| service.ending == Ending::Close && service.replies.is_empty()));
}

#[test]
fn characters_that_portspoof_does_not_expand_stand_for_themselves() {
    for text in ["+ADw-a", "$_=$ARGV", "{perl,-e}", "a|b?^", "a*b+", "<b>'&~#/"] {
        let profile = portspoof(&format!("80 \"{text}\"")).unwrap();
        assert_eq!(banner(&profile, 80).unwrap(), text.as_bytes(), "{text}");
    }
}

#[test]
fn classes_are_expanded_to_characters_that_match() {
    for (text, pattern) in [
        (r"word: [\w]+ [\d]+ [a-b]+ [1-2]+\n", r"^word: \w{1,10} \d{1,10} [ab]{1,10} [12]{1,10}\n$"),
        (r"V([\d.]+) release (\d+) \.\.\.", r"^V[\d.]{1,10} release \d{1,10} \.\.\.$"),
        (r"... \. \d \w [^\r\n]* .", r"^[ -~]{3} \. \d \w [ -~]{0,9} [ -~]$"),
    ] {
        let pattern = regex::bytes::Regex::new(&format!("(?s-u){pattern}")).unwrap();
        let profile = portspoof(&format!("1000-1099 \"{text}\"")).unwrap();
        for port in 1000..1100 {
            let banner = banner(&profile, port).unwrap();
            assert!(pattern.is_match(&banner), "{text} {:?}", String::from_utf8_lossy(&banner));
        }
    }
}

#[test]
fn the_key_and_the_port_determine_a_banner() {
    let text = b"1-100 \"id [\\w]+[\\w]+[\\w]+[\\w]+\"";
    let parse = |key: [u8; 16]| Profile::parse_portspoof(text, "test", &key).unwrap();
    assert_eq!(parse([1; 16]), parse([1; 16]));
    assert_ne!(parse([1; 16]), parse([2; 16]));
    let profile = parse([1; 16]);
    assert!(profile.services().len() > 90, "{}", profile.services().len());
}

#[test]
fn other_lines_are_refused() {
    for line in ["ssh \"a\"", "80 a", "80 \"a", "\"a\"", "70000 \"a\"", "9-7 \"a\"", "80,81 \"a\"", "80 81 \"a\""] {
        assert_eq!(
            portspoof(&format!("1 \"a\"\n\n{line}\n")).unwrap_err().to_string(),
            "line 3: expected a port or a range of ports, then a payload in double quotes",
            "{line}"
        );
    }
    for (payload, message) in [
        ("(a", "the payload cannot be expanded: unclosed group"),
        ("", "the payload is empty, or longer than 1208 bytes"),
    ] {
        assert_eq!(portspoof(&format!("80 \"{payload}\"")).unwrap_err().to_string(), format!("line 1: {message}"));
    }
    let longest = |length| portspoof(&format!("80 \"{}\"", "a".repeat(length)));
    assert!(longest(1208).is_ok());
    assert_eq!(longest(1209).unwrap_err(), ProfileError::Expansion { line: 1 });
    // The address of an IPv6 client has 39 bytes, and a payload has four placeholders of clients at most.
    let with_client = |length: usize| portspoof(&format!("80 \"{}{{client}}\"", "a".repeat(length - 39)));
    assert!(with_client(1208).is_ok());
    assert_eq!(with_client(1209).unwrap_err(), ProfileError::Expansion { line: 1 });
    let with_ports = |count| portspoof(&format!("80 \"{}\"", "{client_port}".repeat(count)));
    assert!(with_ports(4).is_ok());
    assert_eq!(with_ports(5).unwrap_err(), ProfileError::Expansion { line: 1 });
    assert_eq!(portspoof("# nothing\n").unwrap_err(), ProfileError::NoPayload);
}

#[test]
fn signatures_are_regular_expressions() {
    let text = "220 ([-.\\w]+) ESMTP (?:Exim|Postfix)\\r?\\n$\n\n{\"id\":\\d{3}}[^\"]+\n\\0\\xff\\x01[[x]\n(?=a)b\nab(\n\\bc\n";
    let profile = Profile::parse_signatures(text.as_bytes(), "test", &KEY).unwrap();
    assert_eq!(profile.skipped_lines(), 3);
    assert_eq!(profile.ports(&KEY).len(), 65536);
    let patterns =
        [r"^220 [-.\w]{1,10} ESMTP (Exim|Postfix)\r?\n$", r#"^\{"id":\d{3}\}[ !#-~]{1,10}$"#, r"^\x00\xff\x01[\[x]$"];
    assert_eq!(profile.services().len(), patterns.len());
    for pattern in patterns {
        let regex = regex::bytes::Regex::new(&format!("(?s-u){pattern}")).unwrap();
        assert!(profile.services().iter().any(|service| regex.is_match(&service.banner.text())), "{pattern}");
    }
    // Each signature has about a third of the ports.
    let ports = profile.ports(&KEY);
    let count = |service| ports.values().filter(|&&index| index == service).count();
    assert!((0..3).all(|service| (20_000..24_000).contains(&count(service))), "{:?}", [0, 1, 2].map(count));
    assert_eq!(Profile::parse_signatures(text.as_bytes(), "test", &KEY).unwrap(), profile);
    let refused = |text: &[u8]| Profile::parse_signatures(text, "test", &KEY).unwrap_err().to_string();
    assert_eq!(refused(b"\nab(\n\\bc\n"), "no line can be expanded: line 2: unclosed group");
    assert_eq!(refused(b"\n"), "it has no payload");
}

#[test]
fn nested_repetitions_are_not_expanded() {
    let text = "((((((((a{1000}){1000}){1000}){1000}){1000}){1000}){1000}){1000})";
    assert_eq!(Profile::parse_signatures(format!("{text}\nb\n").as_bytes(), "test", &KEY).unwrap().skipped_lines(), 1);
    let text = format!("{}a{}", "(".repeat(200), "*)".repeat(200));
    assert_eq!(Profile::parse_signatures(format!("{text}\nb\n").as_bytes(), "test", &KEY).unwrap().skipped_lines(), 1);
}
