//! The parser of profiles in TOML, and the rules that a profile must keep.

use tcp_bounce_wire::Ending;
use toml::de::{DeTable, DeValue};

use crate::config::ValueError;
use crate::config::toml_file::{self, Key, Reader, Value};

use super::keys::{self, Table};
use super::port_rules::OwnPorts;
use super::{
    PayloadConfig, Prefix, Profile, ProfileError, ReplyConfig, ServiceConfig, ServicePorts, System, payload, port_rules,
};

/// The word for all ports that no other service has.
const OTHERS: &str = "others";

/// The names of the endings.
const ENDINGS: [(&str, Ending); 3] = [("stay", Ending::Stay), ("close", Ending::Close), ("reset", Ending::Reset)];

impl Profile {
    /// Parses a profile in TOML. `name` becomes its name.
    ///
    /// # Errors
    ///
    /// The mistake in the first line that has one. The rules are checked if the syntax has no mistake.
    pub fn parse(text: &str, name: &str) -> Result<Self, ProfileError> {
        let table = toml_file::parse(text, &keys::DIALECT)?;
        let mut reader = Reader::new(text);
        let (system, services) = reader.profile(&table);
        match reader.mistakes.into_iter().min_by_key(|mistake| mistake.line().unwrap_or(usize::MAX)) {
            Some(mistake) => Err(mistake),
            None => Ok(Self { name: name.to_owned(), system, services, skipped_lines: 0 }),
        }
    }
}

/// A part of a payload.
enum Part<'a> {
    Text(&'a str),
    Bytes(Vec<u8>),
}

impl Reader<'_, ProfileError> {
    fn profile(&mut self, table: &DeTable) -> (System, Vec<ServiceConfig>) {
        self.check_keys(table, Table::Profile);
        let system = table.get(keys::SYSTEM.name).and_then(|value| self.system(value)).unwrap_or_default();
        let items = table.get(keys::SERVICE.name).and_then(|value| self.list(keys::SERVICE, value)).unwrap_or_default();
        let mut services = Vec::new();
        let mut ports = Vec::new();
        for item in items {
            if let Some(table) = self.table(keys::ONE_SERVICE, item) {
                services.extend(self.service(table, self.line(item), &mut ports));
            }
        }
        if items.is_empty() && self.mistakes.is_empty() {
            self.mistakes.push(ProfileError::NoService);
        }
        self.mistakes.extend(port_rules::check(&ports).err());
        (system, services)
    }

    fn system(&mut self, value: &Value) -> Option<System> {
        let name = self.string(keys::SYSTEM, value)?;
        System::from_name(name).or_else(|| {
            let (line, system) = (self.line(value), name.escape_debug().to_string());
            self.mistakes.push(ProfileError::UnknownSystem { line, system });
            None
        })
    }

    /// Reads a service, and adds its ports to `all_ports`.
    fn service(&mut self, table: &DeTable, line: usize, all_ports: &mut Vec<OwnPorts>) -> Option<ServiceConfig> {
        let earlier = self.mistakes.len();
        let is_whole = self.check_keys(table, Table::Service);
        let name = table.get(keys::NAME.name).and_then(|value| self.string(keys::NAME, value)).map(str::to_owned);
        let ports = self.required(table, Table::Service, keys::PORTS, is_whole.then_some(line));
        let ports = ports.and_then(|value| Some((self.ports(value)?, self.line(value))));
        all_ports.extend(ports.clone().map(|(ports, line)| OwnPorts { name: name.clone(), ports, line }));
        let banner =
            table.get(keys::BANNER.name).and_then(|value| self.payload(keys::BANNER, value)).unwrap_or_default();
        let ending = table.get(keys::END.name).and_then(|value| self.ending(value)).unwrap_or(Ending::Stay);
        let replies = table.get(keys::REPLIES.name).and_then(|value| self.list(keys::REPLIES, value));
        let replies = self.replies(replies.unwrap_or_default(), ending);
        if banner.is_empty() && replies.is_empty() && self.mistakes.len() == earlier {
            self.mistakes.push(ProfileError::EmptyService { line });
        }
        ports.map(|(ports, _)| ServiceConfig { name, ports, banner, replies, ending })
    }

    fn ports(&mut self, value: &Value) -> Option<ServicePorts> {
        let text = self.text(keys::PORTS, value)?;
        if text.trim() == OTHERS {
            return Some(ServicePorts::Others);
        }
        let reason = match text.parse() {
            Ok(pattern) => return Some(ServicePorts::Pattern(pattern)),
            Err(_) if text.split(',').any(|item| item.trim() == OTHERS) => {
                ValueError::new("\"others\" cannot be combined with other ports")
                    .with_examples("write ports = \"others\": they are all ports that no other service has")
            }
            Err(reason) => reason,
        };
        self.refuse(value, reason)
    }

    fn ending(&mut self, value: &Value) -> Option<Ending> {
        let name = self.string(keys::END, value)?;
        let known = ENDINGS.iter().find(|(known, _)| *known == name);
        if known.is_none() {
            let (line, end) = (self.line(value), name.escape_debug().to_string());
            self.mistakes.push(ProfileError::UnknownEnd { line, end });
        }
        known.map(|&(_, ending)| ending)
    }

    /// Returns the replies of a service with this ending.
    fn replies(&mut self, values: &[Value], ending: Ending) -> Vec<ReplyConfig> {
        let mut replies: Vec<ReplyConfig> = Vec::new();
        for value in values {
            let line = self.line(value);
            if replies.len() == Profile::MAX_REPLIES {
                self.mistakes.push(ProfileError::TooManyReplies { line, count: values.len() });
                break;
            }
            let Some(reply) = self.table(keys::ONE_REPLY, value).and_then(|table| self.reply(table, line)) else {
                continue;
            };
            if replies.iter().any(|earlier| earlier.prefix.covers(&reply.prefix)) {
                self.mistakes.push(ProfileError::UnreachableReply { line });
            }
            if reply.prefix == Prefix::default() && ending == Ending::Stay && values.len() > 1 {
                self.mistakes.push(ProfileError::AmbiguousReply { line });
            }
            replies.push(reply);
        }
        replies
    }

    fn reply(&mut self, table: &DeTable, line: usize) -> Option<ReplyConfig> {
        let is_whole = self.check_keys(table, Table::Reply);
        let prefix = match table.get(keys::PREFIX.name) {
            Some(value) => self.prefix(value),
            None => Some(Prefix::default()),
        };
        let value = self.required(table, Table::Reply, keys::SEND, is_whole.then_some(line))?;
        let payload = self.payload(keys::SEND, value)?;
        Some(ReplyConfig { prefix: prefix?, payload })
    }

    fn prefix(&mut self, value: &Value) -> Option<Prefix> {
        let mut prefix = Prefix::default();
        self.parts(keys::PREFIX, value, &mut |part| match part {
            Part::Text(text) => prefix.push_text(text),
            Part::Bytes(bytes) => prefix.push_exact(&bytes),
        })?;
        let line = self.line(value);
        self.mistakes.push(match prefix.bytes().len() {
            0 => ProfileError::EmptyPrefix { line },
            1..=Profile::MAX_PREFIX => return Some(prefix),
            length => ProfileError::PrefixTooLong { line, length },
        });
        None
    }

    fn payload(&mut self, key: Key, value: &Value) -> Option<PayloadConfig> {
        let mut config = PayloadConfig::default();
        self.parts(key, value, &mut |part| match part {
            Part::Text(text) => config.push_text(text.as_bytes()),
            Part::Bytes(bytes) => config.push_exact(&bytes),
        })?;
        let line = self.line(value);
        let payload = if key == keys::BANNER { "banner" } else { "reply" };
        self.mistakes.push(match (config.longest(), config.count_fields()) {
            (0, _) if key == keys::BANNER => ProfileError::EmptyBanner { line },
            (0, _) => ProfileError::EmptyReply { line },
            (length, _) if length > Profile::MAX_PAYLOAD => ProfileError::PayloadTooLong { line, payload, length },
            (_, count) if count > Profile::MAX_FIELDS => ProfileError::TooManyFields { line, payload, count },
            _ => return Some(config),
        });
        None
    }

    /// Passes each part of a payload to `take`. Returns `None` if a part has a mistake.
    fn parts(&mut self, key: Key, value: &Value, take: &mut dyn FnMut(Part)) -> Option<()> {
        match value.get_ref() {
            DeValue::String(text) => match self.source.ambiguous_escape(value.span()) {
                Some((line, escape)) => {
                    self.mistakes.push(ProfileError::AmbiguousEscape { line, escape });
                    return None;
                }
                None => take(Part::Text(text)),
            },
            DeValue::Table(table) => take(Part::Bytes(self.bytes(table, self.line(value))?)),
            DeValue::Array(parts) => {
                for part in parts.iter() {
                    self.parts(keys::item(key), part, take)?;
                }
            }
            _ => return self.refuse_type(key, value),
        }
        Some(())
    }

    fn bytes(&mut self, table: &DeTable, line: usize) -> Option<Vec<u8>> {
        let is_whole = self.check_keys(table, Table::Bytes);
        let value = self.required(table, Table::Bytes, keys::HEX, is_whole.then_some(line))?;
        let digits = self.string(keys::HEX, value)?;
        let bytes = payload::parse_hex(digits).map_err(|reason| ProfileError::InvalidHex {
            line: self.source.line_of(value.span(), is_no_digit),
            reason,
        });
        bytes.map_err(|mistake| self.mistakes.push(mistake)).ok().filter(|_| is_whole)
    }
}

/// Returns whether a character in the text of a string is neither a hexadecimal digit nor a separator.
fn is_no_digit(character: char) -> bool {
    !character.is_ascii_hexdigit() && !character.is_whitespace() && !"\"'\\".contains(character)
}

#[cfg(test)]
mod tests;
