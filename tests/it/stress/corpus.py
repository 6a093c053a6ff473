"""Writes packets to standard output, most of them malformed. Equal seeds give equal packets.

Each packet follows its length, of two bytes in network byte order. Most packets come from scapy's fuzz(), or are
truncated or damaged. The others have false lengths or header chains that a parser might trust.

Arguments: the seed, the number of packets from fuzz(), and the MAC, IPv4 and IPv6 addresses, each of host and client.
"""

import random
import struct
import sys

from scapy.all import *

seed, fuzzed, HOST_MAC, CLIENT_MAC, HOST, CLIENT, HOST_V6, CLIENT_V6 = sys.argv[1:]
random.seed(int(seed))

# The default ISN. Segments that acknowledge ISN + 1 belong to a connection of the responder.
ISN = 0x74637062
LINUX = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
LONGEST = 1514

option = IPOption(length=RandByte(), value=RandBin(RandNum(0, 6)))
ether = Ether(src=CLIENT_MAC, dst=HOST_MAC)
ip = IP(src=CLIENT, dst=HOST)
ip_with_options = IP(src=CLIENT, dst=HOST, options=[IPOption_RR()])
ip6 = IPv6(src=CLIENT_V6, dst=HOST_V6)
ip6_with_extensions = ip6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()
syn = TCP(sport=40000, dport=80, seq=1, flags="S", options=LINUX)
later = TCP(sport=40000, dport=80, seq=2, ack=ISN + 1, flags="PA") / b"some words"
whole = [
    bytes(ether / tags / net / segment)
    for tags in (Raw(), Dot1Q(vlan=5), Dot1AD(vlan=6) / Dot1Q(vlan=7))
    for net in (ip, ip_with_options, ip6, ip6_with_extensions)
    for segment in (syn, later)
]
frames = []


def add(frame):
    # A packet socket refuses frames shorter than an Ethernet header.
    if 14 <= len(frame) <= LONGEST:
        frames.append(frame)


def with_bytes(frame, offset, value):
    return frame[:offset] + value + frame[offset + len(value) :]


def some_bytes(most):
    return random.randbytes(random.randrange(most + 1))


# Every truncation of every whole packet.
for frame in whole:
    for length in range(14, len(frame)):
        add(frame[:length])

# Every IP version and header length, total lengths around every limit, and every TCP header length.
LENGTHS = [*range(0, 130), 255, 256, 1480, 1500, 1501, 0x7FFF, 0x8000, *range(0xFFE0, 0x10000)]
v4, v6 = bytes(ether / ip / syn), bytes(ether / ip6 / syn)
for first in range(256):
    add(with_bytes(v4, 14, bytes([first])))
    add(with_bytes(v6, 14, bytes([first])))
for length in LENGTHS:
    add(with_bytes(v4, 16, struct.pack("!H", length)))
    add(with_bytes(v6, 18, struct.pack("!H", length)))
for offset in range(16):
    for frame, start in ((v4, 34), (v6, 54)):
        for flags in (0x02, 0x10, 0x12, 0x00, 0xFF):
            add(with_bytes(frame, start + 12, bytes([offset << 4, flags])))

# Nested VLAN tags.
for depth in range(1, 12):
    for _ in range(10):
        types = random.choices((b"\x81\x00", b"\x88\xa8", b"\x91\x00"), k=depth)
        tags = b"".join(kind + random.randbytes(2) for kind in types)
        for frame in (v4, v6):
            tagged = frame[:12] + tags + frame[12:]
            add(tagged)
            add(tagged[: random.randrange(14, len(tagged))])

# Chains of IPv6 extension headers, some with wrong lengths.
HEADERS = [0, 43, 44, 50, 51, 59, 60, 135, 139, 140, 253]
for _ in range(2500):
    kinds = random.choices(HEADERS[:7] if random.random() < 0.5 else [0, 43, 60], k=random.randrange(1, 13))
    chain = b""
    for following in [*kinds[1:], 6]:
        units = random.choice((0, 0, 0, 1, 2, 255))
        room = 8 + 8 * units if random.random() < 0.8 else random.randrange(0, 16)
        header = bytes([following, units]) + random.randbytes(1) + random.choice((b"\0", random.randbytes(1)))
        chain += (header + bytes(room))[: max(room, 2)]
    payload = chain + bytes(syn)
    stated = len(payload) if random.random() < 0.7 else random.choice(LENGTHS)
    add(v6[:18] + struct.pack("!HB", stated, kinds[0]) + v6[21:54] + payload)

# TCP and IP options that are too short, too long or cut off.
for _ in range(1000):
    kinds = random.choices((0, 1, 2, 3, 4, 5, 8, 19, 29, 30, 34, 254), k=6)
    options = b"".join(bytes([kind, random.choice((0, 1, 2, 3, 4, 10, 40, 255))]) + some_bytes(8) for kind in kinds)
    options = options[: random.randrange(0, 11) * 4].ljust(4 * random.randrange(0, 11), b"\1")[:40]
    options += bytes(-len(options) % 4)
    size = len(options) // 4
    for frame, start in ((v4, 34), (v6, 54)):
        add(with_bytes(frame[: start + 20], start + 12, bytes([size + 5 << 4])) + options)
    add(with_bytes(v4, 14, bytes([0x45 + size]))[:34] + options + v4[34:])

# Packets from scapy's fuzz(), and a truncated or extended copy of each.
TEMPLATES = [
    ether / fuzz(IP(src=CLIENT, dst=HOST)) / fuzz(TCP()),
    ether / IP(src=CLIENT, dst=HOST) / fuzz(TCP()),
    ether / IP(src=CLIENT, dst=HOST) / fuzz(TCP(flags="S")),
    ether / IP(src=CLIENT, dst=HOST) / fuzz(TCP(dport=2222)),
    ether / fuzz(IP(src=CLIENT, dst=HOST, version=4, frag=0, flags=0)) / fuzz(TCP(ack=ISN + 1, flags="A")),
    ether / fuzz(IP(src=CLIENT, dst=HOST, version=4, frag=0, flags=0)) / fuzz(UDP()),
    ether / IP(src=CLIENT, dst=HOST, options=[fuzz(option)]) / fuzz(TCP(flags="S")),
    ether / fuzz(IP()) / fuzz(TCP()),
    ether / fuzz(IPv6(src=CLIENT_V6, dst=HOST_V6)) / fuzz(TCP()),
    ether / IPv6(src=CLIENT_V6, dst=HOST_V6) / fuzz(TCP(flags="S")),
    ether / IPv6(src=CLIENT_V6, dst=HOST_V6) / fuzz(IPv6ExtHdrHopByHop()) / fuzz(TCP(flags="S")),
    ether / IPv6(src=CLIENT_V6, dst=HOST_V6) / fuzz(IPv6ExtHdrDestOpt()) / fuzz(IPv6ExtHdrRouting()) / fuzz(TCP()),
    ether / IPv6(src=CLIENT_V6, dst=HOST_V6) / fuzz(IPv6ExtHdrFragment()) / fuzz(TCP(flags="S")),
    ether / fuzz(IPv6()) / fuzz(UDP()),
    ether / fuzz(Dot1Q()) / IP(src=CLIENT, dst=HOST) / fuzz(TCP(flags="S")),
    ether / fuzz(Dot1AD()) / fuzz(Dot1Q()) / IPv6(src=CLIENT_V6, dst=HOST_V6) / fuzz(TCP(flags="S")),
    fuzz(Ether(src=CLIENT_MAC, dst=HOST_MAC)) / fuzz(IP()),
]
for _ in range(int(fuzzed) // len(TEMPLATES)):
    for template in TEMPLATES:
        frame = bytes(template)
        add(frame)
        add((frame + some_bytes(40))[: random.randrange(14, len(frame) + 41)])

# Packets with damaged bytes, whole and truncated.
for _ in range(3000):
    frame = bytearray(random.choice(whole))
    for _ in range(random.randrange(1, 5)):
        # The MAC addresses stay intact, so that no other host gets an answer.
        frame[random.randrange(12, len(frame))] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
    add(bytes(frame))
    add(bytes(frame[: random.randrange(14, len(frame))]))

random.shuffle(frames)
sys.stdout.buffer.write(b"".join(struct.pack("!H", len(frame)) + frame for frame in frames))
