//! What becomes of a connection after its handshake: the modes of `--then`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What it looks like to the client once it is connected. The value is a bit, so that modes make sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Action {
    /// A server that says nothing: all later segments are dropped.
    Ignore = 1,
    /// A server that resets the connection.
    Reset = 2,
    /// A server that closes it, and acknowledges what still comes.
    Close = 4,
    /// A server that acknowledges all data and throws it away (RFC 863).
    Discard = 8,
    /// A server that sends all data back (RFC 862).
    Echo = 16,
    /// A server that never has room for data: its window is zero.
    Tarpit = 32,
}

impl Action {
    /// Every mode.
    pub const ALL: [Self; 6] = [Self::Ignore, Self::Reset, Self::Close, Self::Discard, Self::Echo, Self::Tarpit];

    /// Whether it must know the client's ISN, which later segments do not tell: the ISN of the SYN-ACK is then the
    /// client's plus an offset, which is a secret.
    pub const fn follows_client(self) -> bool {
        ActionSet::FOLLOW_CLIENT.contains(self)
    }
}

/// A set of modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct ActionSet(u8);

impl ActionSet {
    const FOLLOW_CLIENT: Self = Self::only(Action::Echo).with(Action::Tarpit);

    /// The set of one mode.
    #[inline(always)]
    pub const fn only(action: Action) -> Self {
        Self(action as u8)
    }

    /// This set and `then`.
    pub const fn with(self, action: Action) -> Self {
        Self(self.0 | action as u8)
    }

    /// Whether `then` is in the set.
    #[inline(always)]
    pub const fn contains(self, action: Action) -> bool {
        self.0 & action as u8 != 0
    }

    /// Whether a mode is in the set that must know the client's ISN.
    #[inline(always)]
    pub const fn any_follows_client(self) -> bool {
        self.0 & Self::FOLLOW_CLIENT.0 != 0
    }

    /// This set with [`Action::Ignore`] in the place of the modes that must know the client's ISN.
    pub(crate) const fn without_followers(self) -> Self {
        match self.0 & !Self::FOLLOW_CLIENT.0 {
            rest if rest == self.0 => self,
            rest => Self(rest).with(Action::Ignore),
        }
    }

    /// The mode of `port`, if this is the set of those that are in use; as a set, of which all that is not in use is
    /// known to be absent, also to the verifier. An empty one is as good as that of [`Action::Ignore`].
    #[inline(always)]
    pub fn of_port(self, by_port: &ActionByPort, port: u16) -> Self {
        if self.0.is_power_of_two() { self } else { Self(self.0 & by_port.0[port.to_be() as usize]) }
    }
}

/// The mode of each port, where more than one is in use. As in [`crate::PortSet`], a port's index is its number as it lies
/// in a packet.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ActionByPort([u8; 65536]);

impl ActionByPort {
    /// [`Action::Ignore`] for each.
    pub const fn new() -> Self {
        Self([Action::Ignore as u8; 65536])
    }

    /// Gives `port` a mode.
    pub fn set(&mut self, port: u16, action: Action) {
        self.0[port.to_be() as usize] = action as u8;
    }
}

impl Default for ActionByPort {
    fn default() -> Self {
        Self::new()
    }
}
