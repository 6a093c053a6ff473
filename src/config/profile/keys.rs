//! The keys of a profile in TOML: their tables, the kinds of their values, and examples for hints.

use crate::config::toml_file::{self, Dialect, Key};

/// The words of profiles.
pub const DIALECT: Dialect = Dialect {
    list: SERVICE.name,
    keys: &[PROFILE_KEYS, SERVICE_KEYS],
    example: "`tcp-bounce --show-profile linux-server` prints an example",
    list_hint: "replies look like [{ prefix = \"GET \", send = \"a\" }, { send = \"b\" }]",
    escape_hint: "write bytes as in { hex = \"ff fd 18\" }",
};

const PROFILE_KEYS: &[Key] = &[SYSTEM, SERVICE];
const SERVICE_KEYS: &[Key] = &[NAME, PORTS, BANNER, REPLIES, END];

/// A table of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The top of the file.
    Profile,
    /// A service.
    Service,
    /// A reply of a service.
    Reply,
    /// A payload in hexadecimal.
    Bytes,
}

const TEXT: &str = "a string";
const PAYLOAD: &str = "a string, { hex = \"...\" } or a list of both";
const PART: &str = "a string or { hex = \"...\" }";

/// The operating system.
pub const SYSTEM: Key = Key { name: "system", expected: TEXT, example: "system = \"linux\"" };
/// The services.
pub const SERVICE: Key = Key { name: "service", expected: "a list of tables", example: "[[service]]" };
/// A service.
pub const ONE_SERVICE: Key = Key { name: "each service", expected: "a table", ..SERVICE };
/// The name of a service.
pub const NAME: Key = Key { name: "name", expected: TEXT, example: "name = \"web\"" };
/// The ports of a service.
pub const PORTS: Key = Key { name: "ports", expected: TEXT, example: "ports = \"22,8000-8999\"" };
/// The banner of a service.
pub const BANNER: Key = Key { name: "banner", expected: PAYLOAD, example: "banner = \"220 ready\\r\\n\"" };
/// The replies of a service.
pub const REPLIES: Key = Key { name: "replies", expected: "a list", example: "replies = [{ send = \"...\" }]" };
/// A reply.
pub const ONE_REPLY: Key = Key { name: "each reply", expected: "a table such as { send = \"...\" }", ..REPLIES };
/// The end of the connections of a service.
pub const END: Key = Key { name: "end", expected: TEXT, example: "end = \"stay\", \"close\" or \"reset\"" };
/// The prefix of a reply.
pub const PREFIX: Key = Key { name: "prefix", expected: PAYLOAD, example: "prefix = \"GET \"" };
/// The payload of a reply.
pub const SEND: Key = Key { name: "send", expected: PAYLOAD, example: "send = \"...\"" };
/// Hexadecimal digits.
pub const HEX: Key = Key { name: "hex", expected: TEXT, example: "hex = \"ff fd 18\"" };

/// Returns the key of an item in the list of a payload.
pub fn item(key: Key) -> Key {
    let name = match key.name {
        "banner" => "an item of banner",
        "prefix" => "an item of prefix",
        "send" => "an item of send",
        name => name,
    };
    Key { name, expected: PART, ..key }
}

impl toml_file::Table for Table {
    fn keys(self) -> &'static [Key] {
        match self {
            Self::Profile => PROFILE_KEYS,
            Self::Service => SERVICE_KEYS,
            Self::Reply => &[PREFIX, SEND],
            Self::Bytes => &[HEX],
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Service => "service",
            Self::Reply => "reply",
            Self::Bytes => "payload in braces",
        }
    }

    fn hint_for_unknown(self, name: &str, has_keys: bool) -> String {
        match self {
            Self::Profile if Self::Service.contains(name) => "write it below [[service]]".to_owned(),
            Self::Profile if has_keys => "write [[service]]".to_owned(),
            Self::Profile => "use system, and [[service]] for each service".to_owned(),
            Self::Service if Self::Profile.contains(name) => "write it above the first [[service]]".to_owned(),
            Self::Service if Self::Reply.contains(name) => format!("write it in a reply, as in {}", REPLIES.example),
            Self::Reply if Self::Service.contains(name) => "write it outside of replies".to_owned(),
            Self::Bytes => format!("bytes look like {{ {} }}", HEX.example),
            Self::Service | Self::Reply => self.hint_with_names(name),
        }
    }
}
