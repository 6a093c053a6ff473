//! The operating systems whose SYN-ACKs a profile can imitate.

use std::fmt::{self, Display, Formatter};

/// An operating system whose SYN-ACKs a profile imitates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum System {
    /// The system of this host: nothing is imitated.
    #[default]
    Host,
    /// Linux.
    Linux,
    /// Windows Server 2016.
    WindowsServer2016,
    /// Windows 10.
    Windows10,
    /// FreeBSD.
    FreeBsd,
    /// macOS.
    MacOs,
    /// OpenBSD.
    OpenBsd,
    /// Cisco IOS.
    CiscoIos,
    /// lwIP, the network stack of many embedded devices.
    Lwip,
}

impl System {
    /// All systems.
    pub const ALL: [Self; 9] = [
        Self::Host,
        Self::Linux,
        Self::WindowsServer2016,
        Self::Windows10,
        Self::FreeBsd,
        Self::MacOs,
        Self::OpenBsd,
        Self::CiscoIos,
        Self::Lwip,
    ];

    /// Returns the system with this name, as a profile spells it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|system| system.name() == name)
    }

    /// Returns the name, as a profile spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Linux => "linux",
            Self::WindowsServer2016 => "windows-server-2016",
            Self::Windows10 => "windows-10",
            Self::FreeBsd => "freebsd",
            Self::MacOs => "macos",
            Self::OpenBsd => "openbsd",
            Self::CiscoIos => "cisco-ios",
            Self::Lwip => "lwip",
        }
    }
}

impl Display for System {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}
