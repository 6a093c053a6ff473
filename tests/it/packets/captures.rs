//! Frames of capture files: the loaded program treats each as `docs/reference/packets.md` says.
//!
//! tshark dissects the frames and the replies. The project's own parser has no part in the expected results. By
//! default, the test reads the files that `captures.py` wrote.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::{env, iter};

use libbpf_rs::libbpf_sys::{XDP_DROP, XDP_PASS, XDP_TX};
use regex::Regex;

use crate::fixtures::dissection::{CaptureFile, Dissection};
use crate::fixtures::packet::{ACK, Choice, ECE, FIN, Kernel, LONGEST, RST, SYN, hex};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/packets/captures");

/// The fields of VLAN identifiers. tshark has two names for the tags of a frame with two service tags.
const VLAN_IDS: [&str; 4] = ["vlan.id", "ieee8021ad.id", "ieee8021ad.svid", "ieee8021ad.cvid"];
/// The fields of the types of an Ethernet frame, of VLAN tags and of service tags.
const TYPES: [&str; 3] = ["eth.type", "vlan.etype", "ieee8021ah.etype"];
/// The fields of the lengths of IPv6 extension headers in bytes.
const EXTENSIONS: [&str; 3] = ["ipv6.hopopts.len_oct", "ipv6.dstopts.len_oct", "ipv6.routing.len_oct"];

/// The other fields of a dissection.
const FIELDS: [&str; 27] = [
    "_ws.expert.severity",
    "frame.cap_len",
    "frame.protocols",
    "eth.dst",
    "eth.src",
    "ip.checksum.status",
    "ip.cur_rt",
    "ip.dst",
    "ip.flags.mf",
    "ip.frag_offset",
    "ip.hdr_len",
    "ip.len",
    "ip.src",
    "ipv6.dst",
    "ipv6.fraghdr.offset",
    "ipv6.plen",
    "ipv6.routing.segleft",
    "ipv6.src",
    "tcp.ack_raw",
    "tcp.checksum.status",
    "tcp.dstport",
    "tcp.flags",
    "tcp.hdr_len",
    "tcp.len",
    "tcp.option_kind",
    "tcp.seq_raw",
    "tcp.srcport",
];

/// The status of a correct checksum.
const GOOD: &str = "1";
/// The severity of messages about the normal course of a connection, such as a SYN. Any other severity is higher.
const CHAT: u32 = 0x0020_0000;
/// The MAC address of the interface, for frames to a group of hosts.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The layers of a frame whose TCP header the program can find. The first group is the layers of
/// its reply without TCP.
static HEADERS: LazyLock<Regex> = LazyLock::new(|| {
    const ETHERNET: &str = "eth:ethertype(?::(?:vlan|ieee8021ad):ethertype)*";
    const EXTENSIONS: &str = r"(?::ipv6\.hopopts)?(?::ipv6\.(?:dstopts|routing))*|:ipv6\.fraghdr";
    Regex::new(&format!(r"^({ETHERNET}:(?:ip|ipv6))(?:{EXTENSIONS}):tcp\b")).unwrap()
});

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    Answered,
    Dropped,
    Passed,
}

/// A frame of a capture file.
struct Frame {
    /// The index of the file.
    file: usize,
    /// The number of the frame in the file.
    number: usize,
    bytes: Vec<u8>,
}

#[test]
#[ignore = "needs root: loads a BPF program"]
fn treats_captured_frames_as_documented() {
    let chosen = env::var_os("TCP_BOUNCE_TEST_CAPTURES").map(PathBuf::from);
    let folder = chosen.as_deref().unwrap_or(Path::new(FOLDER));
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut problems = Vec::new();
    let frames: Vec<Frame> =
        files.iter().enumerate().flat_map(|(index, file)| frames(index, file, &mut problems)).collect();
    let fields = [&VLAN_IDS[..], &TYPES, &EXTENSIONS, &FIELDS].concat();
    let requests = Dissection::of(frames.iter().map(|frame| &frame.bytes[..]), &fields);
    let mut kernel = Kernel::load(Choice { mac: Some(MAC), ..Choice::DEFAULT });
    let results: Vec<(Treatment, Vec<u8>)> =
        iter::zip(&frames, &requests).map(|(frame, request)| run(&mut kernel, &frame.bytes, request)).collect();
    let answers = results.iter().filter(|(treatment, _)| *treatment == Treatment::Answered);
    let mut replies = Dissection::of(answers.map(|(_, reply)| &reply[..]), &fields).into_iter();
    let mut counts = vec![[0; 3]; files.len()];
    for ((frame, request), (treatment, result)) in iter::zip(iter::zip(&frames, &requests), &results) {
        counts[frame.file][*treatment as usize] += 1;
        let reply = if *treatment == Treatment::Answered { replies.next() } else { None };
        if let Some(problem) = problem(&frame.bytes, request, *treatment, result, reply) {
            let (name, protocols) = (files[frame.file].display(), request.text("frame.protocols"));
            problems.push(format!("{name}, frame {}, {protocols}: {problem}", frame.number));
        }
    }
    for (file, [answered, dropped, passed]) in iter::zip(&files, &counts) {
        println!("{}: {answered} answered, {dropped} dropped, {passed} passed", file.display());
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    let total = |treatment| counts.iter().map(|counts| counts[treatment as usize]).sum::<usize>();
    let totals = [Treatment::Answered, Treatment::Dropped, Treatment::Passed].map(total);
    assert!(chosen.is_some() || totals.iter().all(|&total| total >= 50), "{totals:?}");
}

/// Returns the frames of a capture file that a test run accepts, and prints the number of skipped packets. Adds a
/// problem if no frame is left.
fn frames(index: usize, file: &Path, problems: &mut Vec<String>) -> Vec<Frame> {
    let CaptureFile { frames, skipped, error } = CaptureFile::read(file);
    let captured = frames.len();
    let frames = frames.into_iter().filter(|(_, bytes)| (14..=LONGEST).contains(&bytes.len()));
    let frames: Vec<Frame> = frames.map(|(number, bytes)| Frame { file: index, number, bytes }).collect();
    let skipped = skipped + captured - frames.len();
    let error = error.map_or_else(String::new, |error| format!(", {error}"));
    let message = format!("{}: {skipped} packets skipped{error}", file.display());
    if frames.is_empty() {
        problems.push(format!("{message}, no frame left"));
    } else if skipped > 0 || !error.is_empty() {
        println!("{message}");
    }
    frames
}

/// Returns the difference between a result and the documentation, if there is one.
fn problem(
    frame: &[u8],
    request: &Dissection,
    treatment: Treatment,
    result: &[u8],
    reply: Option<Dissection>,
) -> Option<String> {
    let expected = expected(request);
    if treatment != expected {
        return Some(format!("{treatment:?}, expected {expected:?}: {}", hex(frame)));
    }
    let Some(reply) = reply else {
        return (frame != result).then(|| format!("{treatment:?}, but changed: {}", hex(result)));
    };
    let faults = faults(request, &reply, result);
    (!faults.is_empty()).then(|| format!("{faults:?}: {}", hex(result)))
}

/// Runs the program on a frame, on an interface with the frame's destination addresses. Returns the treatment, and the
/// frame after the run.
fn run(kernel: &mut Kernel, frame: &[u8], request: &Dissection) -> (Treatment, Vec<u8>) {
    // As when tcp-bounce starts, only a unicast address is a primary address.
    let destination = |field| Some(end(request, field)).filter(|_| is_unicast(request));
    let v4 = destination("ip.dst").and_then(|address| address.parse().ok()).unwrap_or(Ipv4Addr::UNSPECIFIED);
    let v6 = destination("ipv6.dst").and_then(|address| address.parse().ok()).unwrap_or(Ipv6Addr::UNSPECIFIED);
    let mac = if is_group(end(request, "eth.dst")) { MAC } else { frame[..6].try_into().unwrap() };
    kernel.set_interface(&Choice { mac: Some(mac), primary: Some((v4.octets(), v6.octets())), ..Choice::DEFAULT });
    let outcome = kernel.run(frame);
    let treatment = match outcome.action {
        XDP_TX => Treatment::Answered,
        XDP_DROP => Treatment::Dropped,
        XDP_PASS => Treatment::Passed,
        action => panic!("XDP action {action}: {}", hex(frame)),
    };
    (treatment, outcome.frame)
}

/// Returns the treatment of a frame that the documentation specifies, for `--dst any`.
fn expected(frame: &Dissection) -> Treatment {
    if !has_supported_headers(frame) || !holds_tcp_header(frame) || !is_unicast(frame) {
        return Treatment::Passed;
    }
    let flags = flags(frame);
    let has = |flag| flags & u16::from(flag) != 0;
    let is_fragment =
        ["1", "True"].contains(&frame.text("ip.flags.mf")) || !frame.text("ipv6.fraghdr.offset").is_empty();
    let is_signed = frame.all("tcp.option_kind").any(|kind| ["19", "29"].contains(&kind));
    if has(ACK) && !has(SYN) && frame.number("tcp.ack_raw") == Some(Choice::DEFAULT.isn as usize + 1) {
        Treatment::Dropped
    } else if is_fragment || has(ACK) || has(RST) {
        Treatment::Passed
    } else if !has(SYN) || has(FIN) {
        Treatment::Dropped
    } else if is_signed {
        Treatment::Passed
    } else {
        Treatment::Answered
    }
}

/// Returns whether a TCP header follows the Ethernet header, at most two VLAN tags, and IP headers that the program
/// skips. A later fragment has none.
fn has_supported_headers(frame: &Dissection) -> bool {
    let is_one_of = |field: &str, known: &[&str]| frame.all(field).all(|value| known.contains(&value));
    HEADERS.is_match(frame.text("frame.protocols"))
        && TYPES.iter().all(|field| is_one_of(field, &["0x0800", "0x86dd", "0x8100", "0x88a8"]))
        && tags(frame) <= 2
        && EXTENSIONS.iter().map(|field| frame.all(field).count()).sum::<usize>() <= 4
        && is_one_of("ipv6.routing.segleft", &["0"])
        && is_one_of("ip.frag_offset", &["0"])
        && is_one_of("ipv6.fraghdr.offset", &["0"])
}

/// Returns whether the frame holds the whole IP packet, and the packet holds the whole TCP header.
fn holds_tcp_header(frame: &Dissection) -> bool {
    let fragment = if frame.text("ipv6.fraghdr.offset").is_empty() { 0 } else { 8 };
    let extensions: usize = EXTENSIONS.iter().map(|field| frame.sum(field)).sum();
    let ip = frame.number("ip.hdr_len").unwrap_or(40 + fragment + extensions);
    let tcp = frame.number("tcp.hdr_len").unwrap_or_default();
    let end = packet_end(frame);
    tcp >= 20 && 14 + 4 * tags(frame) + ip + tcp <= end && Some(end) <= frame.number("frame.cap_len")
}

/// Returns the offset of the first byte after the IP packet.
fn packet_end(frame: &Dissection) -> usize {
    let length = frame.number("ip.len").or_else(|| Some(40 + frame.number("ipv6.plen")?));
    14 + 4 * tags(frame) + length.unwrap_or_default()
}

/// Returns whether both ends of a packet can be hosts, and are not the same.
fn is_unicast(frame: &Dissection) -> bool {
    let is_v4 = |address: Ipv4Addr| {
        !(address.octets()[0] == 0 || address.is_loopback() || address.is_multicast() || address.is_broadcast())
    };
    let is_v6 = |address: Ipv6Addr| {
        let is_impossible = address.is_unspecified() || address.is_loopback() || address.to_ipv4_mapped().is_some();
        !is_impossible && !address.is_multicast()
    };
    let [v4, v6] = [["ip.src", "ip.dst"], ["ipv6.src", "ipv6.dst"]];
    !["eth.src", "eth.dst"].iter().any(|field| is_group(end(frame, field)))
        && v4.iter().all(|field| end(frame, field).parse().ok().is_none_or(is_v4))
        && v6.iter().all(|field| end(frame, field).parse().ok().is_none_or(is_v6))
        && [v4, v6]
            .iter()
            .all(|[source, destination]| end(frame, source).is_empty() || end(frame, source) != end(frame, destination))
}

/// Returns the address or port of one end of a packet, from the outermost header that has it.
fn end<'a>(frame: &'a Dissection, field: &str) -> &'a str {
    // For a packet with a source route, tshark calls the last address of the route the destination.
    let field = if field == "ip.dst" && !frame.text("ip.cur_rt").is_empty() { "ip.cur_rt" } else { field };
    frame.all(field).next().unwrap_or_default()
}

/// Returns whether a MAC address is a multicast or broadcast address.
fn is_group(mac: &str) -> bool {
    // A frame without Ethernet header has no address.
    mac.get(..2).is_some_and(|byte| u8::from_str_radix(byte, 16).unwrap() & 1 != 0)
}

/// Returns the number of VLAN tags.
fn tags(frame: &Dissection) -> usize {
    VLAN_IDS.iter().map(|field| frame.all(field).count()).sum()
}

fn flags(frame: &Dissection) -> u16 {
    u16::from_str_radix(frame.text("tcp.flags").trim_start_matches("0x"), 16).unwrap()
}

/// Returns the reasons why `frame`, whose dissection is `reply`, is not a correct SYN-ACK to this SYN.
fn faults(request: &Dissection, reply: &Dissection, frame: &[u8]) -> Vec<String> {
    let swapped =
        [["eth.src", "eth.dst"], ["ip.src", "ip.dst"], ["ipv6.src", "ipv6.dst"], ["tcp.srcport", "tcp.dstport"]];
    let ends = swapped.into_iter().flat_map(|[one, other]| [(one, other), (other, one)]);
    let ends = ends.map(|(field, other)| (field, end(request, other).to_owned()));
    let tags = VLAN_IDS.iter().chain(&TYPES).map(|&field| (field, request.text(field).to_owned()));
    let is_v4 = !request.text("ip.src").is_empty();
    let sequence_number = request.number("tcp.seq_raw").unwrap() as u32;
    let others = [
        ("frame.protocols", format!("{}:tcp", &HEADERS.captures(request.text("frame.protocols")).unwrap()[1])),
        ("ip.checksum.status", if is_v4 { GOOD } else { "" }.to_owned()),
        ("tcp.checksum.status", GOOD.to_owned()),
        ("tcp.ack_raw", sequence_number.wrapping_add(1).to_string()),
        ("tcp.len", "0".to_owned()),
    ];
    let expected = ends.chain(tags).chain(others);
    let wrong = expected.filter(|(field, value)| reply.text(field) != value);
    let mut faults: Vec<String> =
        wrong.map(|(field, value)| format!("{field} {}, expected {value}", reply.text(field))).collect();
    // The program keeps the length of a slightly longer SYN.
    match frame.get(packet_end(reply)..) {
        Some(padding) if padding.iter().all(|&byte| byte == 0) => {}
        Some(padding) => faults.push(format!("padding {}", hex(padding))),
        None => faults.push("truncated".to_owned()),
    }
    if flags(reply) & !u16::from(ECE) != u16::from(SYN | ACK) {
        faults.push(format!("flags {:#x}", flags(reply)));
    }
    if reply.all("_ws.expert.severity").any(|severity| severity.parse::<u32>().unwrap() > CHAT) {
        faults.push("tshark warns".to_owned());
    }
    faults
}
