//! The SYN-ACKs in the style of other operating systems are those in the databases of p0f and nmap.
//!
//! The tests read the databases that are installed with both programs.

use std::collections::BTreeMap;
use std::fs;

use etherparse::{NetSlice, TcpOptionElement};
use tcp_bounce_wire::{SystemReplies, Verdict};

use crate::fixtures::packet::{CWR, Choice, ECE, Kernel, Request, SYN, Segment};

/// The file of p0f's database.
const P0F_DATABASE: &str = "/etc/p0f/p0f.fp";

/// The file of nmap's database.
const NMAP_DATABASE: &str = "/usr/share/nmap/nmap-os-db";

/// The options that a SYN may offer, in p0f's words.
const OFFERS: [&[&str]; 8] =
    [&[], &["ws"], &["sok"], &["ts"], &["ws", "sok"], &["ws", "ts"], &["sok", "ts"], &["ws", "sok", "ts"]];

/// A timestamps option of nmap's probes.
const TS: [u8; 10] = [8, 10, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Returns the settings for replies in the style of `system`.
fn choice(system: SystemReplies) -> Choice {
    Choice { system: Some(system), key: Some([5; 16]), ..Choice::DEFAULT }
}

/// Reads a database, which `scripts/setup test` installs.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error} (run `scripts/setup test`)"))
}

/// A TCP signature, in the fields of p0f's database.
#[derive(Debug, PartialEq, Eq)]
struct Signature {
    ttl: u8,
    /// The window, and the window scale or 0.
    window: String,
    layout: String,
    quirks: String,
}

impl Signature {
    /// Parses a line of the database: `VERSION:TTL:OPTIONS:MSS:WINDOW,SCALE:LAYOUT:QUIRKS:PAYLOAD`.
    fn parse(line: &str) -> Self {
        let [_, ttl, _, _, window, layout, quirks, _] = line.split(':').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let [window, layout, quirks] = [window, layout, quirks].map(str::to_owned);
        Self { ttl: ttl.parse().unwrap(), window, layout, quirks }
    }

    /// Returns the signature of a SYN-ACK.
    fn of(frame: &[u8]) -> Self {
        let segment = Segment::parse(frame).expect("a segment");
        let NetSlice::Ipv4(ipv4) = &segment.net else { panic!("{segment:?}") };
        let header = ipv4.header();
        let (mut layout, mut length, mut scale) = (Vec::new(), 0, 0);
        for element in segment.tcp.options_iterator() {
            let (word, size) = match element.expect("well-formed options") {
                TcpOptionElement::Noop => ("nop", 1),
                TcpOptionElement::MaximumSegmentSize(_) => ("mss", 4),
                TcpOptionElement::WindowScale(shift) => {
                    scale = shift;
                    ("ws", 3)
                }
                TcpOptionElement::SelectiveAcknowledgementPermitted => ("sok", 2),
                TcpOptionElement::Timestamp(..) => ("ts", 10),
                other => panic!("{other:?}"),
            };
            layout.push(word.to_owned());
            length += size;
        }
        // p0f counts the bytes after the end of the list.
        match segment.tcp.options().len() - length {
            0 => {}
            rest => layout.push(format!("eol+{}", rest - 1)),
        }
        let quirks = match (header.dont_fragment(), header.identification()) {
            (true, 0) => "df",
            (true, _) => "df,id+",
            (false, 0) => "id-",
            (false, _) => "",
        };
        Self {
            ttl: header.ttl(),
            window: format!("{},{scale}", segment.tcp.window_size()),
            layout: layout.join(","),
            quirks: quirks.to_owned(),
        }
    }
}

/// Returns the signatures of SYN-ACKs in p0f's database, by their labels.
fn p0f_signatures() -> BTreeMap<String, Vec<Signature>> {
    let database = read(P0F_DATABASE);
    let responses = database.split("\n[tcp:response]").nth(1).expect("signatures of SYN-ACKs");
    let mut signatures = BTreeMap::<_, Vec<_>>::new();
    let mut label = "";
    for line in responses.lines().take_while(|line| !line.starts_with('[')) {
        match line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some(("label", value)) => label = value,
            Some(("sig", value)) => signatures.entry(label.to_owned()).or_default().push(Signature::parse(value)),
            _ => {}
        }
    }
    signatures
}

/// Returns the signatures of the SYN-ACKs to SYNs with each combination of options.
fn signatures(settings: Choice) -> Vec<Signature> {
    let mut kernel = Kernel::load(settings);
    let words = |word: &&str| match *word {
        "ws" => vec![1, 3, 3, 7],
        "sok" => vec![1, 1, 4, 2],
        _ => vec![1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0],
    };
    let answer = |offer: &[&str]| {
        let options = [vec![2, 4, 5, 0xb4]].into_iter().chain(offer.iter().map(words)).collect::<Vec<_>>().concat();
        let outcome = kernel.run(&Request { options, ..Request::syn() }.frame());
        assert_eq!(outcome.counted, [(Verdict::Answered, 1)], "{offer:?}");
        Signature::of(&outcome.frame)
    };
    OFFERS.map(answer).into()
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn p0f_knows_the_signatures() {
    let database = p0f_signatures();
    let known = |label: &str| database.get(label).unwrap_or_else(|| panic!("no {label} in {P0F_DATABASE}"));

    let windows = known("s:win:Windows:7 or 8");
    for signature in signatures(choice(SystemReplies::WINDOWS_SERVER_2016)) {
        assert!(windows.contains(&signature), "{signature:?} is none of {windows:?}");
    }
    // FreeBSD 12 has the signatures of FreeBSD 9, but identification 0.
    let freebsd = [known("s:unix:FreeBSD:9.x").as_slice(), known("s:unix:FreeBSD:8.x-9.x")].map(<[_]>::iter);
    let freebsd: Vec<_> = freebsd.into_iter().flatten().collect();
    for signature in signatures(choice(SystemReplies::FREEBSD)).into_iter().skip(1) {
        assert_eq!(signature.quirks, "df");
        let expected = Signature { quirks: "df,id+".to_owned(), ..signature };
        assert!(freebsd.contains(&&expected), "{expected:?} is none of {freebsd:?}");
    }
    // Newer versions have other window scales, but the same order of options.
    for (label, own) in [("s:unix:OpenBSD:5.x", SystemReplies::OPENBSD), ("s:unix:Mac OS X:10.x", SystemReplies::MACOS)]
    {
        for signature in signatures(choice(own)).into_iter().skip(1) {
            let is_known = known(label).iter().any(|known| {
                let window = |signature: &Signature| signature.window.split(',').next().unwrap().to_owned();
                known.layout == signature.layout && window(known) == window(&signature) && known.ttl == signature.ttl
            });
            assert!(is_known, "{label}: {signature:?} is none of {:?}", known(label));
        }
    }
    // Linux 3 advertises ten segments.
    let linux = known("s:unix:Linux:3.x");
    for signature in signatures(Choice { window: Some(14600), ..Choice::DEFAULT }) {
        let is_scaled = signature.layout.contains("ws");
        let expected = Signature { window: if is_scaled { "mss*10,*" } else { "mss*10,0" }.to_owned(), ..signature };
        assert!(linux.contains(&expected), "{expected:?} is none of {linux:?}");
    }
}

/// The six SYNs by which nmap learns options and windows (`O1` to `O6`), and the SYN that requests ECN.
fn nmap_probes() -> [Request; 7] {
    let options: [&[&[u8]]; 7] = [
        &[&[3, 3, 10, 1, 2, 4, 5, 0xb4], &TS, &[4, 2]],
        &[&[2, 4, 5, 0x78, 3, 3, 0, 4, 2], &TS, &[0]],
        &[&TS, &[1, 1, 3, 3, 5, 1, 2, 4, 2, 0x80]],
        &[&[4, 2], &TS, &[3, 3, 10, 0]],
        &[&[2, 4, 2, 0x18, 4, 2], &TS, &[3, 3, 10, 0]],
        &[&[2, 4, 1, 9, 4, 2], &TS],
        &[&[3, 3, 10, 1, 2, 4, 5, 0xb4, 4, 2, 1, 1]],
    ];
    let mut probes = options.map(|options| Request { options: options.concat(), ..Request::syn() });
    let [.., ecn] = &mut probes;
    (ecn.flags, ecn.reserved) = (SYN | ECE | CWR, 8);
    probes
}

/// Returns the tests of nmap that a SYN-ACK determines, with their results: options (`O`), window (`W`), TTL (`TG`), DF
/// (`DF`) and ECN (`CC`).
fn nmap_results(frame: &[u8]) -> [(&'static str, String); 5] {
    let segment = Segment::parse(frame).expect("a segment");
    let NetSlice::Ipv4(ipv4) = &segment.net else { panic!("{segment:?}") };
    let (mut options, mut length) = (String::new(), 0);
    for element in segment.tcp.options_iterator() {
        let (letters, size) = match element.expect("well-formed options") {
            TcpOptionElement::Noop => ("N".to_owned(), 1),
            TcpOptionElement::MaximumSegmentSize(mss) => (format!("M{mss:X}"), 4),
            TcpOptionElement::WindowScale(shift) => (format!("W{shift:X}"), 3),
            TcpOptionElement::SelectiveAcknowledgementPermitted => ("S".to_owned(), 2),
            TcpOptionElement::Timestamp(value, echo) => {
                (format!("T{}{}", u8::from(value != 0), u8::from(echo != 0)), 10)
            }
            other => panic!("{other:?}"),
        };
        options += &letters;
        length += size;
    }
    options += &"L".repeat(segment.tcp.options().len() - length);
    let flag = |is_set| if is_set { "Y" } else { "N" }.to_owned();
    [
        ("O", options),
        ("W", format!("{:X}", segment.tcp.window_size())),
        ("TG", format!("{:X}", ipv4.header().ttl())),
        ("DF", flag(ipv4.header().dont_fragment())),
        ("CC", flag(segment.flags() & ECE != 0)),
    ]
}

/// Returns the lines of nmap's fingerprint of a system, such as `OPS(O1=...%O2=...)`, by their names. A value may have
/// alternatives, separated by `|`.
///
/// Several fingerprints may have the same name. The first is returned in which the MSS is that of Ethernet.
fn nmap_fingerprint(database: &str, name: &str) -> BTreeMap<String, String> {
    let blocks = database.split("\n\n").filter(|block| block.lines().any(|line| line == format!("Fingerprint {name}")));
    let mut fingerprints = blocks.map(|block| {
        let mut values = BTreeMap::new();
        for (line, tests) in block.lines().filter_map(|line| line.strip_suffix(')')?.split_once('(')) {
            for (test, value) in tests.split('%').filter_map(|test| test.split_once('=')) {
                let line = if ["OPS", "WIN"].contains(&line) { String::new() } else { format!("{line}.") };
                values.insert(format!("{line}{test}"), value.to_owned());
            }
        }
        values
    });
    let found = fingerprints.find(|values| values.get("O1").is_some_and(|options| options.starts_with("M5B4")));
    found.unwrap_or_else(|| panic!("no fingerprint {name} in {NMAP_DATABASE}"))
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn nmap_knows_the_fingerprints() {
    let database = read(NMAP_DATABASE);
    for (name, system) in [
        ("Microsoft Windows 10 1709 - 1909", SystemReplies::WINDOWS_10),
        ("Microsoft Windows Server 2016", SystemReplies::WINDOWS_SERVER_2016),
        ("FreeBSD 12.0-RELEASE - 13.0-CURRENT", SystemReplies::FREEBSD),
        (
            "Apple macOS 10.13 (High Sierra) - 10.15 (Catalina) or iOS 11.0 - 13.4 (Darwin 17.0.0 - 19.2.0)",
            SystemReplies::MACOS,
        ),
        ("OpenBSD 6.0 - 6.4", SystemReplies::OPENBSD),
        ("Cisco C860 router (IOS 15.2)", SystemReplies::CISCO_IOS),
        ("Espressif esp8266 firmware (lwIP stack)", SystemReplies::LWIP),
    ] {
        let expected = nmap_fingerprint(&database, name);
        let mut kernel = Kernel::load(choice(system));
        for (index, probe) in nmap_probes().into_iter().enumerate() {
            let outcome = kernel.run(&probe.frame());
            assert_eq!(outcome.counted, [(Verdict::Answered, 1)], "{name}");
            for (test, result) in nmap_results(&outcome.frame) {
                let key = match (index, test) {
                    (6, test) => format!("ECN.{test}"),
                    // Windows 10 rounds its window to the client's segments, which are short in this probe.
                    (5, "W") if system == SystemReplies::WINDOWS_10 => continue,
                    (_, "O" | "W") => format!("{test}{}", index + 1),
                    (0, "TG" | "DF") => format!("T1.{test}"),
                    _ => continue,
                };
                // Two devices with lwIP differ in their TTL.
                if system == SystemReplies::LWIP && test == "TG" {
                    continue;
                }
                let known = expected.get(&key).unwrap_or_else(|| panic!("{name}: no {key}"));
                assert!(known.split('|').any(|value| *value == result), "{name}, {key}: {result} is not {known}");
            }
        }
    }
}
