//! The IPv6 flow labels of replies (RFC 6437).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::checksum::Sum;
use crate::reply_settings::ReplySettings;

/// The bits of a flow label in the first four bytes of an IPv6 header, in host byte order.
pub const FLOW_LABEL_MASK: u32 = 0xf_ffff;
/// The bit that marks labels that were not reserved by a program (`IPV6_FLOWLABEL_STATELESS_FLAG`).
const STATELESS: u32 = 0x8_0000;

/// The choice of flow labels.
///
/// All replies of a connection have one label, which depends on its addresses and ports, as RFC 6437 recommends. Linux
/// chooses a random label for each connection, and keeps it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FlowLabels {
    /// A random number, so that clients cannot compute labels.
    seed: u64,
    /// The bits that vary. Zero if replies have no labels.
    mask: u32,
    /// The bits that are set in each label.
    set: u32,
    /// The bits of the request's label that replies reflect, all or none. Replies to the label 0 reflect none.
    reflected: u32,
    reserved: u32,
}

impl FlowLabels {
    /// Returns the choice that `settings` describe.
    pub(crate) const fn new(settings: &ReplySettings) -> Self {
        let &ReplySettings { has_flow_labels, marks_flow_labels, reflects_flow_labels, seed, .. } = settings;
        Self {
            seed,
            mask: if has_flow_labels { FLOW_LABEL_MASK } else { 0 },
            set: if has_flow_labels && marks_flow_labels { STATELESS } else { 0 },
            reflected: if reflects_flow_labels { FLOW_LABEL_MASK } else { 0 },
            reserved: 0,
        }
    }

    /// Returns the label of replies to a request with the label `requested`.
    ///
    /// `addresses` is the sum of source and destination, and `ports` are the source and destination port in network
    /// byte order.
    #[inline(always)]
    pub fn label(&self, requested: u32, addresses: Sum, ports: [u8; 4]) -> u32 {
        let mixed = addresses.0 ^ (u32::from_ne_bytes(ports) as u64) << 32 ^ self.seed;
        // The upper bits of the product depend on all bits of the factor.
        let product = (mixed ^ mixed >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let own = (product >> 44) as u32 & self.mask | self.set;
        // Without a branch, the verifier has fewer paths to follow: all bits are set if there is nothing to reflect.
        let reflected = requested & self.reflected;
        let has_own = (u64::from(reflected).wrapping_sub(1) >> 32) as u32;
        reflected | own & has_own
    }
}
