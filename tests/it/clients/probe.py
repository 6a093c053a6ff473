"""Sends the packets of scapy expressions, and prints the TCP flags and VLAN identifiers of each answer.

Arguments: the host's MAC address, the IPv4 addresses of host and client, their IPv6 addresses, and the expressions.

The script appends a SYN that always gets an answer. On one CPU the answers keep the order of the packets, so the answer
to this SYN is the last.
"""

import os
import sys

from scapy.all import *

HOST_MAC, HOST, CLIENT, HOST_V6, CLIENT_V6 = sys.argv[1:6]
FIRST_PORT = 10_000

expressions = [*sys.argv[6:], "ether / ip / tcp(flags='S')"]
ports = range(FIRST_PORT, FIRST_PORT + len(expressions))

os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
wire = conf.L2socket(iface="client0")


def frames(expression, port):
    names = {
        "ether": Ether(src=get_if_hwaddr("client0"), dst=HOST_MAC),
        "ip": IP(src=CLIENT, dst=HOST),
        "ip6": IPv6(src=CLIENT_V6, dst=HOST_V6),
        "tcp": lambda **fields: TCP(sport=port, dport=80, **fields),
    }
    packet = eval(expression, globals() | names)
    return packet if isinstance(packet, list) else [packet]


def send_all():
    for expression, port in zip(expressions, ports):
        for frame in frames(expression, port):
            wire.send(frame)


answers = {}


def record_answer(frame):
    answers[frame[TCP].dport] = frame


sniff(
    opened_socket=wire,
    started_callback=send_all,
    lfilter=lambda frame: TCP in frame and frame[Ether].src == HOST_MAC and frame[TCP].dport in ports,
    prn=record_answer,
    stop_filter=lambda frame: frame[TCP].dport == ports[-1],
    timeout=50,
    store=False,
)
for port in ports:
    frame = answers.get(port)
    tags = [] if frame is None else [layer.vlan for layer in frame.iterpayloads() if isinstance(layer, Dot1Q)]
    print("silence" if frame is None else frame[TCP].flags, *tags)
