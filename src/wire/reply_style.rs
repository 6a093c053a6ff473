//! The properties of replies that differ between operating systems: option order, IP identification and DF.

/// The properties of replies in which operating systems differ, besides the values in
/// [`ReplySettings`](crate::ReplySettings).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyStyle {
    /// The order of the options in a SYN-ACK.
    pub option_order: OptionOrder,
    /// The choice of IPv4 identifications.
    pub identification: Identification,
    /// Whether IPv4 headers have the DF flag (don't fragment).
    pub dont_fragment: bool,
    /// The window of a SYN-ACK with window scaling, in bytes, if it differs from the window of other SYN-ACKs.
    pub scaled_window: Option<u16>,
}

impl ReplyStyle {
    /// The style of Linux, which the fast path supports.
    pub const LINUX: Self = Self {
        option_order: OptionOrder::Linux,
        identification: Identification::Zero,
        dont_fragment: true,
        scaled_window: None,
    };

    /// Returns whether this is the style of Linux.
    pub const fn is_linux(self) -> bool {
        matches!(
            self,
            Self {
                option_order: OptionOrder::Linux,
                identification: Identification::Zero,
                dont_fragment: true,
                scaled_window: None,
            }
        )
    }
}

/// The order of a SYN-ACK's options after the MSS option. S stands for SACK permitted, T for timestamps, W for window
/// scale, N for NOP, and E for the end of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionOrder {
    /// `S T N W`. Without timestamps: `N N S N W`.
    Linux,
    /// `N W S T`. Without timestamps: `N W N N S`.
    Windows,
    /// `N W S T`. Without timestamps: `N W S E E`.
    FreeBsd,
    /// `N W N N T S E E`.
    MacOs,
    /// `N N S N W N N T`.
    OpenBsd,
}

/// The choice of IPv4 identifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identification {
    /// Zero in all packets.
    Zero,
    /// Numbers that rise slowly with time.
    ///
    /// Systems with a counter increment it for each packet. The program keeps no such state.
    Rising,
    /// Numbers without an order.
    Random,
}
