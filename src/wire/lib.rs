#![doc = include_str!("README.md")]
//!
//! # The path of a packet
//!
//! 1. **Fast path.** [`fast_path`] locates and filters the segments in plain frames: without VLAN tags, IP options or
//!    extension headers, to the primary addresses of the interface. The SYNs of Linux, macOS and Windows each have a
//!    fixed layout, and skip to step 5. Other segments in plain frames skip to step 4. All other frames take the next
//!    steps, which lead to the same answers.
//! 2. **Locate.** [`ethernet`] skips VLAN tags. [`ipv4`] and [`ipv6`] check lengths and skip IP options and extension
//!    headers. The result is a [`segment::Segment`], the position of a TCP segment in the frame.
//! 3. **Filter.** Packets to other hosts or groups, from sources outside the filter, or to excluded ports are passed to
//!    the host.
//! 4. **Classify.** A SYN is answered unless it is signed. A segment that acknowledges a SYN-ACK of tcp-bounce belongs
//!    to a connection that tcp-bounce accepted, and [`post_handshake`] selects the reply. If the host may have a socket
//!    on the port ([`local_ports`]), the kernel looks for one, and a segment for a socket is passed to the host. All
//!    other TCP segments are passed, too, or dropped under takeover.
//! 5. **Reply.** [`syn_options`] parses the client's options, and [`reply_options`] accepts them as Linux does.
//!    [`syn_ack`] fills in the headers, and [`reply`] writes them over the request.
//!
//! The resulting [`Verdict`] selects the counter to increment and the [`XdpAction`] of the frame. There is no state per
//! connection. The ISN of a SYN-ACK is fixed, or depends on a keyed hash of addresses and ports ([`Isn`]). The sequence
//! numbers of a later segment therefore show that it follows a SYN-ACK of tcp-bounce.
//!
//! # Layers
//!
//! A file imports only from files above it in this table. A test compares the table with the imports.
//!
//! | file | purpose |
//! |---|---|
//! | [`frame`] | frames, and typed views of their bytes |
//! | [`checksum`] | the Internet checksum |
//! | [`text`] | the text of addresses and ports |
//! | [`address`] | MAC, IPv4 and IPv6 addresses |
//! | [`address_set`] | sets of IP addresses |
//! | [`broadcast_set`] | sets of IPv4 broadcast addresses |
//! | [`port_set`] | sets of TCP ports |
//! | [`local_ports`] | the TCP ports on which the host may have sockets |
//! | [`verdict`] | verdicts, and their XDP actions and names |
//! | [`counters`] | counters of frames by verdict |
//! | [`open_handshakes`] | the table of open handshakes, for events of last ACKs with data and of first data |
//! | [`action`] | post-handshake actions, and the action of each port |
//! | [`siphash`] | SipHash-1-3, for keyed ISNs |
//! | [`isn`] | the choice of initial sequence numbers |
//! | [`field`] | the parts of payloads that the program renders |
//! | [`service`] | the services of a profile, and their payloads |
//! | [`ethernet`] | Ethernet headers and VLAN tags |
//! | [`vlan_set`] | sets of VLAN tags |
//! | [`tcp`] | TCP headers |
//! | [`tcp_options`] | kinds and layouts of TCP options |
//! | [`reply_style`] | the properties of replies that differ between operating systems |
//! | [`reply_settings`] | the settings that shape the replies |
//! | [`system`] | the operating systems whose replies tcp-bounce can imitate |
//! | [`flow_label`] | the IPv6 flow labels of replies |
//! | [`clock`] | the clock of TCP timestamps |
//! | [`syn_options`] | the parser of a SYN's options |
//! | [`option_block`] | the options of SYN-ACKs in the order of any system |
//! | [`ip`] | the common interface of both IP versions |
//! | [`ipv4`] | IPv4 headers |
//! | [`ipv6`] | IPv6 headers and extension headers |
//! | [`identity`] | tokens of connections |
//! | [`event`] | client events, and their counts |
//! | [`client_table`] | counts by port and by source address |
//! | [`config`] | the program's settings |
//! | [`interface`] | the state of an interface, and advertised values |
//! | [`filters`] | addresses and ports for which tcp-bounce answers |
//! | [`policy`] | settings, state, filters and host for one packet |
//! | [`segment`] | a TCP segment in a frame |
//! | [`render`] | renders the fields of a payload |
//! | [`host`] | the services of the kernel, or of a test |
//! | [`reply_options`] | the options of a reply |
//! | [`syn_ack`] | the headers of a SYN-ACK |
//! | [`post_handshake`] | verdicts on segments after the handshake |
//! | [`serve`] | verdicts on segments of a connection to a service |
//! | [`reply`] | writes a reply over its request |
//! | [`styled_reply`] | writes SYN-ACKs and IPv4 headers in the style of a system other than Linux |
//! | [`payload_reply`] | writes the answer of a service |
//! | [`fast_path`] | locates and filters the segments in plain frames, and recognises the SYNs of common clients |
//! | [`mod@respond`] | the path of a packet from frame to verdict |

#![no_std]
#![forbid(unsafe_code)]

pub mod action;
pub mod address;
pub mod address_set;
pub mod broadcast_set;
pub mod checksum;
pub mod client_table;
pub mod clock;
pub mod config;
pub mod counters;
pub mod ethernet;
pub mod event;
pub mod fast_path;
pub mod field;
pub mod filters;
pub mod flow_label;
pub mod frame;
pub mod host;
pub mod identity;
pub mod interface;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod isn;
pub mod local_ports;
pub mod open_handshakes;
pub mod option_block;
pub mod payload_reply;
pub mod policy;
pub mod port_set;
pub mod post_handshake;
pub mod render;
pub mod reply;
pub mod reply_options;
pub mod reply_settings;
pub mod reply_style;
pub mod respond;
pub mod segment;
pub mod serve;
pub mod service;
pub mod siphash;
pub mod styled_reply;
pub mod syn_ack;
pub mod syn_options;
pub mod system;
pub mod tcp;
pub mod tcp_options;
pub mod text;
pub mod verdict;
pub mod vlan_set;

pub use action::{Action, ActionByPort, ActionSet};
pub use address::AddressBits;
pub use address_set::AddressSet;
pub use broadcast_set::BroadcastSet;
pub use client_table::{Bucket, ClientCounters, ClientCounts, Slot};
pub use clock::Clock;
pub use config::{ProgramConfig, ProgramSettings, TelemetrySettings};
pub use counters::Counters;
pub use event::{DataEvent, Event, EventCounts, EventKind};
pub use field::{Field, FieldKind, Fields};
pub use filters::Filters;
pub use frame::Frame;
pub use host::{Host, SocketKind};
pub use interface::{Advertised, InterfaceState, ReceiveWindows};
pub use isn::Isn;
pub use local_ports::LocalPorts;
pub use open_handshakes::OpenHandshakes;
pub use policy::Policy;
pub use port_set::PortSet;
pub use reply_settings::ReplySettings;
pub use reply_style::{Identification, OptionOrder, ReplyStyle};
pub use respond::respond;
pub use service::{Block, Ending, Payload, Service, ServiceByPort};
pub use system::{SystemReplies, SystemWindow};
pub use verdict::{Verdict, XdpAction};
pub use vlan_set::VlanSet;
