//! Four requests and the exact bytes of their replies.
//!
//! A Python script that is independent of this crate packed the header fields and computed the checksums as RFC 1071
//! describes. Wireshark finds all frames well formed and all checksums correct. Each line has one part: Ethernet with
//! VLAN tags, IP, IP options, TCP, TCP options, data or padding.

use crate::common;

use common::{Choice, Setup};
use tcp_bounce_wire::frame::Buffer;
use tcp_bounce_wire::{Frame, Verdict};

/// The SYN of a Linux client: MSS, SACK permitted, timestamps, window scale. Port 40262 to 443, sequence number
/// 0x3b9aca07.
const LINUX_SYN: &str = "
    5254 0012 3456 5254 00ab cdef 0800
    4500 003c 1c46 4000 4006 3231 c000 020a c633 6407
    9d46 01bb 3b9a ca07 0000 0000 a002 faf0 08bf 0000
    0204 05b4 0402 080a 00a1 b2c3 0000 0000 0103 030a";
const LINUX_REPLY: &str = "
    5254 00ab cdef 5254 0012 3456 0800
    4500 003c 0000 4000 4006 4e77 c633 6407 c000 020a
    01bb 9d46 7463 7062 3b9a ca08 a012 fe88 1c4d 0000
    0204 05b4 0402 080a 0102 0304 00a1 b2c3 0103 0307";

/// The smallest SYN: no options, no padding, no DF, TTL 1, port 65535 to 0, sequence number 0xffffffff.
const MINIMAL_SYN: &str = "
    5254 0012 3456 5254 00ab cdef 0800
    4500 0028 d431 0000 0106 f959 c000 020a c633 6407
    ffff 0000 ffff ffff 0000 0000 5002 0400 bf9d 0000";
const MINIMAL_REPLY: &str = "
    5254 00ab cdef 5254 0012 3456 0800
    4500 002c 0000 4000 4006 4e87 c633 6407 c000 020a
    0000 ffff 7463 7062 0000 0000 6012 faf0 cc1a 0000
    0204 05b4";

/// A SYN with router alert, MSS, a TCP Fast Open cookie, ECE, CWR, ECT(0), and an odd number of data bytes (37).
const DATA_SYN: &str = "
    5254 0012 3456 5254 00ab cdef 0800
    4602 0061 beef 4000 3906 015c c000 020a c633 6407
    9404 0000
    c822 0050 0000 ffff 0000 0000 90c2 faf0 adb6 0000
    0204 05b4 220a 0123 4567 89ab cdef 0101
    4745 5420 2f20 4854 5450 2f31 2e31 0d0a 486f 7374 3a20 6578 616d 706c 652e 636f 6d0d 0a0d 0a";
const DATA_REPLY: &str = "
    5254 00ab cdef 5254 0012 3456 0800
    4500 002c 0000 4000 4006 4e87 c633 6407 c000 020a
    0050 c822 7463 7062 0001 0000 6012 faf0 03a7 0000
    0204 05b4";

/// The SYN of a macOS client over IPv6 from 2001:db8::a to 2001:db8::7 in VLAN 42, with flow label, ECE and CWR.
const VLAN_SYN: &str = "
    5254 0012 3456 5254 00ab cdef 8100 a02a 86dd
    600a bcde 002c 0640 2001 0db8 0000 0000 0000 0000 0000 000a 2001 0db8 0000 0000 0000 0000 0000 0007
    9d46 01bb 3b9a ca07 0000 0000 b0c2 ffff 4014 0000
    0204 05a0 0103 0306 0101 080a 3f5c b6b9 0000 0000 0402 0000";
const VLAN_REPLY: &str = "
    5254 00ab cdef 5254 0012 3456 8100 a02a 86dd
    6000 0000 0028 0640 2001 0db8 0000 0000 0000 0000 0000 0007 2001 0db8 0000 0000 0000 0000 0000 000a
    01bb 9d46 7463 7062 3b9a ca08 a052 fb04 6db6 0000
    0204 05a0 0402 080a 0102 0304 3f5c b6b9 0103 0307
    0000 0000";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> =
        hex.split_whitespace().flat_map(str::chars).map(|digit| digit.to_digit(16).expect("a hex digit")).collect();
    digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// Returns the reply to `request` at time 0x01020304, without flow labels and otherwise with default settings, in hex.
fn reply(request: &str) -> String {
    let mut bytes = bytes(request);
    let length = bytes.len();
    bytes.extend([0xa5; 16]);
    let mut frame = Buffer::new(&mut bytes, length);
    let setup = Setup::new(Choice { flow_labels: [false; 3], ..Choice::DEFAULT });
    assert_eq!(setup.run(&mut frame), Verdict::Answered);
    let length = frame.len();
    hex(&bytes[..length])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn answers_the_syn_of_linux() {
    assert_eq!(reply(LINUX_SYN), hex(&bytes(LINUX_REPLY)));
}

#[test]
fn answers_the_smallest_syn() {
    assert_eq!(reply(MINIMAL_SYN), hex(&bytes(MINIMAL_REPLY)));
}

#[test]
fn answers_a_syn_with_data() {
    assert_eq!(reply(DATA_SYN), hex(&bytes(DATA_REPLY)));
}

#[test]
fn answers_a_syn_over_ipv6_in_a_vlan() {
    assert_eq!(reply(VLAN_SYN), hex(&bytes(VLAN_REPLY)));
}
