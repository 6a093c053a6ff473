"""Writes the capture files that captures.rs reads by default. Each run writes equal files.

Argument: the folder for the files.
"""

import pathlib
import struct
import sys

from scapy.all import *
from scapy.contrib.mpls import MPLS

FOLDER = pathlib.Path(sys.argv[1])
# The default ISN. Segments that acknowledge ISN + 1 belong to a connection of the responder.
ISN = 0x74637062

ether = Ether(src="52:54:00:ab:cd:ef", dst="52:54:00:12:34:56")
ip = IP(src="192.0.2.10", dst="198.51.100.7", id=0x1C46, flags="DF")
ip6 = IPv6(src="2001:db8::10", dst="2001:db8:1::7", fl=0x6B1C5)
segment = dict(sport=40262, dport=443, seq=0x3B9ACA07)
OPTIONS = {
    "linux": [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (0xA1B2C3, 0)), ("NOP", None), ("WScale", 10)],
    "windows": [("MSS", 1460), ("NOP", None), ("WScale", 8), ("NOP", None), ("NOP", None), ("SAckOK", b"")],
    "macos": [("MSS", 1460), ("NOP", None), ("WScale", 6), ("NOP", None), ("NOP", None)]
    + [("Timestamp", (0x3F5CB6B9, 0)), ("SAckOK", b""), ("EOL", None)],
    "freebsd": [("MSS", 1460), ("NOP", None), ("WScale", 6), ("SAckOK", b""), ("Timestamp", (0x1F2E3D4C, 0))],
    "openbsd": [("MSS", 1460), ("NOP", None), ("NOP", None), ("SAckOK", b""), ("NOP", None), ("WScale", 6)]
    + [("NOP", None), ("NOP", None), ("Timestamp", (0x7F6E5D4C, 0))],
    "nmap": [("WScale", 10), ("NOP", None), ("MSS", 1460), ("Timestamp", (0xFFFFFFFF, 0)), ("SAckOK", b"")],
    "only MSS": [("MSS", 536)],
    "none": [],
}
syn = TCP(**segment, flags="S", options=OPTIONS["linux"])
ack = TCP(**segment, flags="A", ack=ISN + 1)
IPS = (ip, ip6)


def with_options(options, flags="S"):
    """Returns a SYN with these bytes of options, padded with zeros."""
    options += bytes(-len(options) % 4)
    return TCP(**segment, flags=flags, dataofs=5 + len(options) // 4) / Raw(options)


def with_bytes(frame, offset, value):
    frame = bytes(frame)
    return frame[:offset] + value + frame[offset + len(value) :]


def clients():
    """SYNs of several systems, with ECN, data, TCP Fast Open, Multipath TCP, signatures and odd options."""
    for net in IPS:
        for options in OPTIONS.values():
            yield ether / net / TCP(**segment, flags="S", window=64240, options=options)
            yield ether / net / TCP(**segment, flags="SEC", window=65535, options=options)
        yield ether / net / TCP(**segment, flags="S", reserved=7)
        yield ether / net / TCP(**{**segment, "dport": 0, "sport": 0}, flags="S")
        yield ether / net / TCP(**{**segment, "dport": 65535, "seq": 0xFFFFFFFF}, flags="S", options=OPTIONS["linux"])
        yield ether / net / syn / b"GET / HTTP/1.0\r\n\r\n"
        yield ether / net / TCP(**segment, flags="S", options=[("MSS", 1460), ("TFO", (0x01020304, 0x05060708))]) / b"x"
        for options in (
            # MPTCP, the user timeout option, and an experimental option.
            b"\x02\x04\x05\xb4\x1e\x0c\x01\x81" + bytes(range(8)),
            b"\x1c\x04\x80\x3c\xfd\x04\xf9\x89",
            # Only padding; options after the end; an option of the length 0, 1, and beyond the header.
            b"\x01" * 40,
            b"\x00\x02\x04\x05",
            b"\x02\x00\x05\xb4\x01\x03\x03\x07",
            b"\x02\x01\x05\xb4",
            b"\x02\x04\x05\xb4\x08\x0a\x00\x00",
            # An MSS option of five bytes, and two timestamps options.
            b"\x02\x05\x05\xb4\x00\x03\x03\x07",
            b"\x08\x0a" + b"\x01" * 8 + b"\x08\x0a" + b"\x02" * 8,
            # MD5 and TCP-AO signatures; a signature after the end, and one that the header does not hold.
            b"\x01\x01\x13\x12" + bytes(range(16)),
            b"\x1d\x10\x01\x02" + bytes(range(12)),
            b"\x00\x00\x13\x12" + bytes(range(16)),
            b"\x01\x01\x13\x12" + bytes(4),
        ):
            yield ether / net / with_options(options)


def segments():
    """Each combination of the six classic flags, and later segments of a connection of the responder."""
    for flags in range(64):
        yield ether / ip / TCP(**segment, ack=1, flags=flags)
        yield ether / ip6 / TCP(**segment, ack=ISN + 1, flags=flags)
    for net in IPS:
        for flags in ("A", "PA", "FA", "RA", "AEC"):
            for number in (ISN, ISN + 1, ISN + 2):
                yield ether / net / TCP(**segment, ack=number, flags=flags)
            yield ether / net / TCP(**segment, ack=ISN + 1, flags=flags) / b"some words"


def tags():
    """VLAN tags: none to three, with several types, priorities and a tag without the rest."""
    single, priority = Dot1Q(vlan=5), Dot1Q(vlan=0, prio=5)
    for net in IPS:
        for tag in (
            single,
            priority,
            Dot1Q(vlan=4095, prio=7, id=1),
            Dot1AD(vlan=6),
            Dot1AD(vlan=6) / single,
            single / Dot1Q(vlan=9),
            Dot1AD(vlan=6) / Dot1AD(vlan=7),
            single / Dot1AD(vlan=8),
            Dot1AD(vlan=6) / single / Dot1Q(vlan=9),
        ):
            yield ether / tag / net / syn
            yield ether / tag / net / TCP(**segment, flags="F")
        old = bytes(ether / single / net / syn)
        # An older type of tags, alone and in a service tag.
        yield with_bytes(old, 12, b"\x91\x00")
        yield with_bytes(ether / Dot1AD(vlan=6) / single / net / syn, 16, b"\x91\x00")
        yield with_bytes(old, 16, b"\x08\x06")
        yield old[:16]
        yield old[:18]


def extensions():
    """IPv6 extension headers, in and out of order."""
    hop, routed = IPv6ExtHdrHopByHop(), IPv6ExtHdrRouting(segleft=0)
    options = IPv6ExtHdrDestOpt()
    unknown = IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0xC7, optdata=b"word")])
    alert = IPv6ExtHdrHopByHop(options=[RouterAlert()])
    nodes = ["2001:db8::1", "2001:db8::2"]
    for chain in (
        hop,
        alert,
        options,
        unknown,
        routed,
        IPv6ExtHdrRouting(addresses=nodes, segleft=0),
        IPv6ExtHdrRouting(addresses=nodes, segleft=1),
        IPv6ExtHdrRouting(type=2, addresses=nodes[:1], segleft=1),
        IPv6ExtHdrSegmentRouting(addresses=nodes, segleft=0),
        IPv6ExtHdrSegmentRouting(addresses=nodes, segleft=1),
        hop / options,
        hop / options / routed / options,
        hop / options / routed / options / options,
        options / options / options / options,
        options / hop,
        hop / hop,
        IPv6ExtHdrFragment(id=7),
        IPv6ExtHdrFragment(id=7, m=1),
        hop / IPv6ExtHdrFragment(id=7),
        IPv6ExtHdrFragment(id=7) / options,
        AH(nh=6, spi=1, seq=1, icv=bytes(12)),
    ):
        yield ether / ip6 / chain / syn
        yield ether / ip6 / chain / ack
    # Mobility, host identity, shim6 and experimental headers, and no next header.
    for kind in (135, 139, 140, 253, 59):
        header = bytes([6, 0]) + bytes(6)
        yield ether / IPv6(src=ip6.src, dst=ip6.dst, nh=kind) / Raw(header + bytes(syn))
    chained = bytes(ether / ip6 / options / syn)
    # Lengths that end in the TCP header, at the end of the packet, and behind it.
    for length in (1, 5, 6, 7, 255):
        yield with_bytes(chained, 55, bytes([length]))
    yield chained[:55]
    # A jumbogram in a short frame.
    jumbo = bytes(ether / ip6 / IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=48)]) / syn)
    yield with_bytes(jumbo, 18, b"\0\0")


def fragments():
    """IP fragments of SYNs and of later segments."""
    for tcp in (syn / bytes(60), ack / bytes(60), TCP(**segment, flags="F") / bytes(60)):
        for part in fragment(IP(src=ip.src, dst=ip.dst, id=7) / tcp, fragsize=48):
            yield ether / part
            yield ether / Dot1Q(vlan=5) / part
        whole = IPv6(src=ip6.src, dst=ip6.dst) / IPv6ExtHdrFragment(id=7) / tcp
        yield from (ether / part for part in fragment6(whole, 96))
    # The first fragment ends within the TCP header.
    for tcp in (syn, ack):
        yield from (ether / part for part in fragment(IP(src=ip.src, dst=ip.dst, id=8) / tcp, fragsize=16))
    for flags, offset in (("MF+DF", 0), ("evil", 0), ("DF", 1), ("MF", 8191)):
        yield ether / IP(src=ip.src, dst=ip.dst, flags=flags, frag=offset) / syn


def damaged():
    """Wrong checksums, lengths and versions, and each truncation of a SYN."""
    v4, v6 = bytes(ether / ip / syn), bytes(ether / ip6 / syn)
    yield ether / IP(src=ip.src, dst=ip.dst, chksum=0x1234) / syn
    for net in IPS:
        for checksum in (0, 0x1234, 0xFFFF):
            yield ether / net / TCP(**segment, flags="S", chksum=checksum, options=OPTIONS["linux"])
    for frame in (v4, v6):
        yield from (frame[:length] for length in range(14, len(frame), 3))
        yield from (with_bytes(frame, 14, bytes([version])) for version in range(5, 256, 16))
    yield from (with_bytes(v4, 14, bytes([0x40 + words])) for words in range(16))
    for length in (0, 19, 20, 39, 40, 41, 59, 60, 61, 65535):
        yield with_bytes(v4, 16, struct.pack("!H", length))
        yield with_bytes(v6, 18, struct.pack("!H", length))
    for words in range(16):
        yield with_bytes(v4, 46, bytes([words << 4]))
        yield with_bytes(v6, 66, bytes([words << 4]))
        yield with_bytes(bytes(ether / ip / ack), 46, bytes([words << 4]))


def addresses():
    """Addresses that no host has, equal addresses, and their neighbors."""
    for mac in ("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01", "03:00:00:00:00:01"):
        yield from (Ether(src=ether.src, dst=mac) / net / syn for net in IPS)
    yield from (Ether(src="03:00:00:00:00:01", dst=ether.dst) / net / syn for net in IPS)
    v4 = "0.0.0.0 0.1.2.3 1.0.0.0 126.255.255.255 127.0.0.1 127.255.255.255 128.0.0.0 223.255.255.255 224.0.0.1"
    v4 += " 239.255.255.255 240.0.0.0 255.255.255.254 255.255.255.255 10.255.255.255 169.254.1.1"
    v6 = ":: ::1 ::2 ::192.0.2.1 ::ffff:192.0.2.1 64:ff9b::c000:201 fe80::1 fec0::1 fd00::1 ff02::1 ff0e::1 feff::1"
    for kind, fixed, texts in ((IP, ip, v4), (IPv6, ip6, v6)):
        for text in texts.split():
            yield ether / kind(src=text, dst=fixed.dst) / syn
            yield ether / kind(src=fixed.src, dst=text) / syn
        yield ether / kind(src=fixed.dst, dst=fixed.dst) / syn
        yield ether / kind(src=fixed.dst, dst=fixed.dst) / TCP(**segment, flags="F")


def framing():
    """Padding, IP options, jumbo frames, and everything that is not TCP over IP over Ethernet II."""
    for net in IPS:
        bare = bytes(ether / net / TCP(**segment, flags="S"))
        yield bare.ljust(60, b"\0")
        yield bare + b"\xee" * 7
        yield bytes(ether / net / syn) + b"\xee" * 4
        yield ether / net / syn / bytes(2900)
    for options in (
        [IPOption_RR(routers=["192.0.2.1"])],
        [IPOption_LSRR(routers=["192.0.2.1"])],
        [IPOption_Timestamp()],
        [IPOption_Router_Alert()],
        [IPOption_NOP()] * 40,
        [IPOption(b"\x07\x00\x00\x00")],
        [IPOption(b"\x44\xff\x05\x00")],
    ):
        yield ether / IP(src=ip.src, dst=ip.dst, options=options) / syn
        yield ether / IP(src=ip.src, dst=ip.dst, options=options) / TCP(**segment, flags="S") / b"data"
    for marks in range(4):
        yield ether / IP(src=ip.src, dst=ip.dst, tos=marks, ttl=1) / TCP(**segment, flags="SEC")
        yield ether / IPv6(src=ip6.src, dst=ip6.dst, tc=marks, hlim=1) / TCP(**segment, flags="SEC")
    quoted = bytes(ip / syn)
    yield ether / ARP(hwsrc=ether.src, psrc=ip.src, pdst=ip.dst)
    yield ether / ip / UDP(sport=40262, dport=443) / b"query"
    yield ether / ip / ICMP() / b"ping"
    yield ether / ip / ICMP(type=3, code=3) / quoted
    yield ether / ip6 / ICMPv6EchoRequest(data=b"ping")
    yield ether / ip6 / ICMPv6DestUnreach() / bytes(ip6 / syn)
    yield ether / ip6 / UDP(sport=40262, dport=443) / b"query"
    yield ether / IP(src=ip.src, dst=ip.dst, proto=132) / bytes(24)
    yield ether / ip / ip / syn
    yield ether / ip / ip6 / syn
    yield ether / ip6 / ip / syn
    yield ether / ip6 / ip6 / syn
    yield ether / ip / GRE() / ip / syn
    yield ether / ip / UDP(sport=40262, dport=4789) / VXLAN(vni=7) / ether / ip / syn
    yield ether / MPLS(label=7, s=1) / ip / syn
    yield ether / PPPoE(sessionid=7) / PPP() / ip / syn
    yield Dot3(src=ether.src, dst=ether.dst) / LLC() / SNAP(code=0x0800) / ip / syn
    yield Dot3(src=ether.src, dst="01:80:c2:00:00:00") / LLC() / STP()
    # Each ethertype with the packet of the other IP version, and the ethertypes next to IPv4's.
    yield Ether(src=ether.src, dst=ether.dst, type=0x86DD) / ip / syn
    yield Ether(src=ether.src, dst=ether.dst, type=0x0800) / ip6 / syn
    yield from (Ether(src=ether.src, dst=ether.dst, type=kind) / ip / syn for kind in (0x0801, 0x07FF, 0x0008, 0))
    yield bytes(ether)


def block(kind, body):
    """Returns a block of a pcapng file, in network byte order."""
    body += bytes(-len(body) % 4)
    length = struct.pack("!I", len(body) + 12)
    return struct.pack("!I", kind) + length + body + length


def interfaces():
    """Returns a pcapng file in network byte order with an Ethernet interface and one without Ethernet headers."""
    blocks = block(0x0A0D0D0A, struct.pack("!IHHq", 0x1A2B3C4D, 1, 0, -1))
    blocks += block(1, struct.pack("!HHI", 1, 0, 0)) + block(1, struct.pack("!HHI", 101, 0, 64))
    for interface, frame in ((0, ether / ip / syn), (1, ip / syn), (0, ether / ip6 / syn), (1, ip6 / syn)):
        frame = bytes(frame)
        captured = frame[:64] if interface == 1 else frame
        blocks += block(6, struct.pack("!IIIII", interface, 0, 0, len(captured), len(frame)) + captured)
    # A simple packet block, which belongs to the first interface.
    frame = bytes(ether / ip / TCP(**segment, flags="F"))
    return blocks + block(3, struct.pack("!I", len(frame)) + frame)


def short():
    """Returns a pcap file with a limit of 60 bytes for each frame, and with times in nanoseconds."""
    records = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 60, 1)
    for frame in (ether / ip / syn, ether / ip / TCP(**segment, flags="S"), ether / ip6 / syn, ether / ip / ack):
        frame = bytes(frame)
        records += struct.pack("<IIII", 0, 0, len(frame[:60]), len(frame)) + frame[:60]
    return records


for frames in (clients, segments, tags, extensions, fragments, damaged, addresses, framing):
    records = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for frame in map(bytes, frames()):
        records += struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame
    (FOLDER / f"{frames.__name__}.pcap").write_bytes(records)
(FOLDER / "interfaces.pcapng").write_bytes(interfaces())
(FOLDER / "short.pcap").write_bytes(short())
