//! Post-handshake actions: how tcp-bounce handles a connection after its handshake (option `--on-connect`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A post-handshake action. Each value is a separate bit, so that actions form sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Action {
    /// Drops all later segments without a reply. The client retransmits its data until it gives up.
    Ignore = 1,
    /// Resets the connection.
    Reset = 2,
    /// Closes the connection and acknowledges later data.
    Close = 4,
    /// Acknowledges all data and discards it (RFC 863).
    Discard = 8,
    /// Sends all data back to the client (RFC 862).
    Echo = 16,
    /// Answers data with a window of zero and acknowledges none of it, so that the client waits.
    Tarpit = 32,
    /// Sends the payloads of a [`Service`](crate::service::Service). A profile or `identify`
    /// selects this action.
    Serve = 64,
}

impl Action {
    /// The actions that a port can have without a profile, in ascending order of their values.
    pub const ALL: [Self; 6] = [Self::Ignore, Self::Reset, Self::Close, Self::Discard, Self::Echo, Self::Tarpit];

    /// Returns whether the action needs to know the client's ISN.
    ///
    /// Later segments do not contain the client's ISN. With such an action, the ISN of the SYN-ACK is therefore the
    /// client's ISN plus a secret offset.
    pub const fn follows_client(self) -> bool {
        ActionSet::FOLLOWING_CLIENT.contains(self)
    }
}

/// A set of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct ActionSet(u8);

impl ActionSet {
    const FOLLOWING_CLIENT: Self = Self::only(Action::Echo).with(Action::Tarpit);
    const REQUIRING_KEY: Self = Self::FOLLOWING_CLIENT.with(Action::Serve);
    const ADVERTISING_WINDOW: Self = Self::only(Action::Close).with(Action::Discard);

    /// Returns the set that contains only `action`.
    #[inline(always)]
    pub const fn only(action: Action) -> Self {
        Self(action as u8)
    }

    /// Returns this set with `action` added.
    pub const fn with(self, action: Action) -> Self {
        Self(self.0 | action as u8)
    }

    /// Returns whether the set contains `action`.
    #[inline(always)]
    pub const fn contains(self, action: Action) -> bool {
        self.0 & action as u8 != 0
    }

    /// Returns whether an action of the set needs the client's ISN.
    #[inline(always)]
    pub const fn any_follows_client(self) -> bool {
        self.0 & Self::FOLLOWING_CLIENT.0 != 0
    }

    /// Returns whether the answers of an action of the set advertise the window of the connection.
    ///
    /// These actions need to know whether window scaling was negotiated. Later segments do not show it, so the ISN of
    /// the SYN-ACK does.
    #[inline(always)]
    pub const fn any_advertises_window(self) -> bool {
        self.0 & Self::ADVERTISING_WINDOW.0 != 0
    }

    /// Returns this set with [`Action::Ignore`] in place of all actions that require a keyed ISN.
    pub(crate) const fn without_key(self) -> Self {
        match self.0 & !Self::REQUIRING_KEY.0 {
            rest if rest == self.0 => self,
            rest => Self(rest).with(Action::Ignore),
        }
    }

    /// Returns the action of `port`, as a set of at most one action. `self` is the set of all actions in use.
    ///
    /// An empty result means [`Action::Ignore`]. The result is masked by `self`, so that the verifier removes the code
    /// of unused actions.
    #[inline(always)]
    pub fn of_port(self, by_port: &ActionByPort, port: u16) -> Self {
        Self(self.0 & by_port.0[port.to_be() as usize])
    }

    /// Returns whether the set contains exactly one action.
    pub(crate) const fn is_single(self) -> bool {
        self.0.is_power_of_two()
    }
}

/// The action of each port, for configurations with more than one action.
///
/// As in [`PortSet`](crate::PortSet), a port's index is in network byte order.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ActionByPort([u8; 65536]);

impl ActionByPort {
    /// Returns a table with [`Action::Ignore`] for all ports.
    pub const fn new() -> Self {
        Self([Action::Ignore as u8; 65536])
    }

    /// Sets the action of `port`.
    pub fn set(&mut self, port: u16, action: Action) {
        self.0[port.to_be() as usize] = action as u8;
    }
}

impl Default for ActionByPort {
    fn default() -> Self {
        Self::new()
    }
}
