//! The parser of profiles in TOML, and the rules that a profile must keep.

use std::fmt::{self, Formatter};
use std::ops::Range;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use tcp_bounce_wire::Ending;

use super::{Prefix, Profile, ProfileError, ReplyConfig, ServiceConfig, ServicePorts, System, payload, port_rules};

/// A profile as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileText {
    system: Option<Spanned<String>>,
    #[serde(default)]
    service: Vec<Spanned<ServiceText>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceText {
    name: Option<String>,
    ports: Spanned<PortsText>,
    banner: Option<Spanned<PayloadText>>,
    #[serde(default)]
    replies: Vec<Spanned<ReplyText>>,
    #[serde(default)]
    end: EndingText,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyText {
    prefix: Option<Spanned<PayloadText>>,
    send: Spanned<PayloadText>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EndingText {
    #[default]
    Stay,
    Close,
    Reset,
}

/// A string with ports, or a number.
struct PortsText(String);

/// A string, hexadecimal digits, or a list of both.
enum PayloadText {
    Text(String),
    Hex(String),
    Parts(Vec<Spanned<PayloadText>>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HexText {
    hex: String,
}

impl<'de> Deserialize<'de> for PortsText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortsVisitor;
        impl Visitor<'_> for PortsVisitor {
            type Value = PortsText;

            fn expecting(&self, f: &mut Formatter) -> fmt::Result {
                f.write_str("a string with ports, such as \"22,8000-8999\"")
            }

            fn visit_i64<E: Error>(self, port: i64) -> Result<PortsText, E> {
                Ok(PortsText(port.to_string()))
            }

            fn visit_str<E: Error>(self, ports: &str) -> Result<PortsText, E> {
                Ok(PortsText(ports.to_owned()))
            }
        }
        deserializer.deserialize_any(PortsVisitor)
    }
}

impl<'de> Deserialize<'de> for PayloadText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PayloadVisitor;
        impl<'de> Visitor<'de> for PayloadVisitor {
            type Value = PayloadText;

            fn expecting(&self, f: &mut Formatter) -> fmt::Result {
                f.write_str("a string, bytes such as { hex = \"ff fd 18\" }, or a list of both")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<PayloadText, E> {
                Ok(PayloadText::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PayloadText, A::Error> {
                HexText::deserialize(MapAccessDeserializer::new(map)).map(|text| PayloadText::Hex(text.hex))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<PayloadText, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(parts)).map(PayloadText::Parts)
            }
        }
        deserializer.deserialize_any(PayloadVisitor)
    }
}

impl Profile {
    /// Parses a profile in TOML. `name` becomes its name.
    ///
    /// # Errors
    ///
    /// The first rule that the profile breaks, with its line.
    pub fn parse(text: &str, name: &str) -> Result<Self, ProfileError> {
        let source = Source(text);
        let profile: ProfileText = toml::from_str(text).map_err(|error| {
            let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            ProfileError::Syntax { line: source.line(error.span()), message }
        })?;
        let system = profile.system.map(|system| source.system(&system)).transpose()?.unwrap_or_default();
        let mut services = Vec::new();
        let mut lines = Vec::new();
        for service in profile.service {
            lines.push(source.line(Some(service.get_ref().ports.span())));
            services.push(source.service(service)?);
        }
        if services.is_empty() {
            return Err(ProfileError::NoService);
        }
        port_rules::check(services.iter().map(|service| &service.ports).zip(lines))?;
        Ok(Self { name: name.to_owned(), system, services, skipped_lines: 0 })
    }
}

/// A part of a payload.
enum Part<'a> {
    Text(&'a str),
    Bytes(Vec<u8>),
}

/// The text of a profile.
struct Source<'a>(&'a str);

impl Source<'_> {
    /// Returns the line at which a span begins, counted from 1. Errors without a span concern the end of the file.
    fn line(&self, span: Option<Range<usize>>) -> usize {
        let start = span.map_or(self.0.len(), |span| span.start);
        self.0.bytes().take(start).filter(|&byte| byte == b'\n').count() + 1
    }

    fn system(&self, system: &Spanned<String>) -> Result<System, ProfileError> {
        System::from_name(system.get_ref()).ok_or_else(|| ProfileError::UnknownSystem {
            line: self.line(Some(system.span())),
            system: system.get_ref().escape_debug().to_string(),
        })
    }

    fn service(&self, service: Spanned<ServiceText>) -> Result<ServiceConfig, ProfileError> {
        let line = self.line(Some(service.span()));
        let ServiceText { name, ports, banner, replies, end } = service.into_inner();
        let ports = self.ports(&ports)?;
        let banner = banner.map(|banner| self.payload(&banner, "banner")).transpose()?.unwrap_or_default();
        let ending = match end {
            EndingText::Stay => Ending::Stay,
            EndingText::Close => Ending::Close,
            EndingText::Reset => Ending::Reset,
        };
        let replies = self.replies(&replies, ending)?;
        if banner.is_empty() && replies.is_empty() {
            return Err(ProfileError::EmptyService { line });
        }
        Ok(ServiceConfig { name, ports, banner, replies, ending })
    }

    fn ports(&self, ports: &Spanned<PortsText>) -> Result<ServicePorts, ProfileError> {
        let text = &ports.get_ref().0;
        if text == "others" {
            return Ok(ServicePorts::Others);
        }
        let line = self.line(Some(ports.span()));
        text.parse().map(ServicePorts::Pattern).map_err(|reason| ProfileError::InvalidPorts { line, reason })
    }

    /// Returns the replies of a service with this ending.
    fn replies(&self, texts: &[Spanned<ReplyText>], ending: Ending) -> Result<Vec<ReplyConfig>, ProfileError> {
        let mut replies: Vec<ReplyConfig> = Vec::new();
        for text in texts {
            let line = self.line(Some(text.span()));
            if replies.len() == Profile::MAX_REPLIES {
                return Err(ProfileError::TooManyReplies { line, count: texts.len() });
            }
            let reply = self.reply(text.get_ref())?;
            if replies.iter().any(|earlier| earlier.prefix.covers(&reply.prefix)) {
                return Err(ProfileError::UnreachableReply { line });
            }
            if reply.prefix == Prefix::default() && ending == Ending::Stay && texts.len() > 1 {
                return Err(ProfileError::AmbiguousReply { line });
            }
            replies.push(reply);
        }
        Ok(replies)
    }

    fn reply(&self, reply: &ReplyText) -> Result<ReplyConfig, ProfileError> {
        let prefix = match &reply.prefix {
            Some(prefix) => self.prefix(prefix)?,
            None => Prefix::default(),
        };
        let payload = self.payload(&reply.send, "reply")?;
        if payload.is_empty() {
            return Err(ProfileError::EmptyReply { line: self.line(Some(reply.send.span())) });
        }
        Ok(ReplyConfig { prefix, payload })
    }

    fn prefix(&self, text: &Spanned<PayloadText>) -> Result<Prefix, ProfileError> {
        let mut prefix = Prefix::default();
        self.parts(text, &mut |part| match part {
            Part::Text(text) => prefix.push_text(text),
            Part::Bytes(bytes) => prefix.push_exact(&bytes),
        })?;
        match prefix.bytes().len() {
            1..=Profile::MAX_PREFIX => Ok(prefix),
            length => Err(ProfileError::PrefixLength { line: self.line(Some(text.span())), length }),
        }
    }

    fn payload(&self, text: &Spanned<PayloadText>, kind: &'static str) -> Result<Vec<u8>, ProfileError> {
        let mut bytes = Vec::new();
        self.parts(text, &mut |part| match part {
            Part::Text(text) => bytes.extend_from_slice(text.as_bytes()),
            Part::Bytes(part) => bytes.extend(part),
        })?;
        let length = payload::longest(&bytes);
        if length > Profile::MAX_PAYLOAD {
            return Err(ProfileError::PayloadTooLong { line: self.line(Some(text.span())), payload: kind, length });
        }
        Ok(bytes)
    }

    /// Passes each part of a payload to `take`.
    fn parts(&self, text: &Spanned<PayloadText>, take: &mut dyn FnMut(Part)) -> Result<(), ProfileError> {
        let line = self.line(Some(text.span()));
        match text.get_ref() {
            PayloadText::Hex(digits) => {
                let bytes = payload::parse_hex(digits);
                take(Part::Bytes(bytes.map_err(|reason| ProfileError::InvalidHex { line, reason })?));
            }
            PayloadText::Text(string) => match self.ambiguous_escape(text.span()) {
                Some(escape) => return Err(ProfileError::AmbiguousEscape { line, escape }),
                None => take(Part::Text(string)),
            },
            PayloadText::Parts(parts) => parts.iter().try_for_each(|part| self.parts(part, take))?,
        }
        Ok(())
    }

    /// Returns the first escape above `\x7f` in the string at `span`. TOML reads it as a character, not as a byte.
    fn ambiguous_escape(&self, span: Range<usize>) -> Option<String> {
        // Strings in single quotes have no escapes.
        let mut rest = self.0.get(span).filter(|string| string.starts_with('"'))?;
        while let Some((_, escape)) = rest.split_once('\\') {
            let mut characters = escape.chars();
            match characters.next() {
                Some('x') if !matches!(characters.next(), Some('0'..='7')) => {
                    return Some(format!("\\{}", escape.get(..3)?));
                }
                _ => rest = characters.as_str(),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
