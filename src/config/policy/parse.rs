//! The parser of policies in TOML.

use std::str::FromStr;

use ipnet::IpNet;
use toml::de::DeTable;

use super::{Policy, Rule};
use crate::config::toml_file::{self, Dialect, Key, Reader};
use crate::config::{PrefixList, TomlError, ValueError, prefixes};

/// The words of policies.
const DIALECT: Dialect = Dialect {
    list: RULE.name,
    keys: &[POLICY_KEYS, RULE_KEYS],
    example: "`tcp-bounce probe --help` has an example",
    list_hint: "a list of ports looks like ports = \"22,80\"",
    escape_hint: "remove it",
};

const POLICY_KEYS: &[Key] = &[DEFAULT_OPEN, RULE];
const RULE_KEYS: &[Key] = &[PORTS, FROM, TO, OPEN];

const DEFAULT_OPEN: Key = Key { name: "default_open", expected: "true or false", example: "default_open = true" };
const RULE: Key = Key { name: "rule", expected: "a list of tables", example: "[[rule]]" };
const ONE_RULE: Key = Key { name: "each rule", expected: "a table", ..RULE };
const PORTS: Key = Key { name: "ports", expected: "a string", example: "ports = \"22,8000-8999\"" };
const FROM: Key = Key { name: "from", expected: "a string", example: "from = \"203.0.113.0/24\"" };
const TO: Key = Key { name: "to", expected: "a string", example: "to = \"192.0.2.1,2001:db8::1\"" };
const OPEN: Key = Key { name: "open", expected: "true or false", example: "open = true" };

/// A table of a policy.
#[derive(Clone, Copy, Debug)]
enum Table {
    /// The top of the file.
    Policy,
    /// A rule.
    Rule,
}

impl toml_file::Table for Table {
    fn keys(self) -> &'static [Key] {
        match self {
            Self::Policy => POLICY_KEYS,
            Self::Rule => RULE_KEYS,
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Rule => "rule",
        }
    }

    fn hint_for_unknown(self, name: &str, has_keys: bool) -> String {
        match self {
            Self::Policy if Self::Rule.contains(name) => "write it below [[rule]]".to_owned(),
            Self::Policy if has_keys => "write [[rule]]".to_owned(),
            Self::Rule if Self::Policy.contains(name) => "write it above the first [[rule]]".to_owned(),
            Self::Policy | Self::Rule => self.hint_with_names(name),
        }
    }
}

/// The addresses of a rule.
struct Addresses(Vec<IpNet>);

impl FromStr for Addresses {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let PrefixList(prefixes) = text.parse()?;
        match prefixes.iter().find_map(|prefix| Some((prefix, prefixes::unmapped(prefix)?))) {
            Some((prefix, ipv4)) => Err(ValueError::new(format!("{prefix} is an IPv4-mapped prefix: write {ipv4}"))),
            None => Ok(Self(prefixes)),
        }
    }
}

impl Policy {
    /// Parses a policy in TOML. `name` becomes its name.
    ///
    /// # Errors
    ///
    /// The mistake in the first line that has one.
    pub fn parse(text: &str, name: &str) -> Result<Self, TomlError> {
        let table = toml_file::parse(text, &DIALECT)?;
        let mut reader = Reader::new(text);
        let rules = reader.rules(&table);
        match reader.mistakes.into_iter().min_by_key(TomlError::line) {
            Some(mistake) => Err(mistake),
            None => Ok(Self { name: name.to_owned(), rules }),
        }
    }
}

impl Reader<'_> {
    /// Reads the rules, and adds the default as the last rule.
    fn rules(&mut self, table: &DeTable) -> Vec<Rule> {
        self.check_keys(table, Table::Policy);
        let default = table.get(DEFAULT_OPEN.name).and_then(|value| self.boolean(DEFAULT_OPEN, value));
        let items = table.get(RULE.name).and_then(|value| self.list(RULE, value)).unwrap_or_default();
        let mut rules = Vec::new();
        for item in items {
            let line = self.line(item);
            rules.extend(self.table(ONE_RULE, item).and_then(|table| self.rule(table, line)));
        }
        rules.push(Rule { line: None, ports: None, from: None, to: None, open: default.unwrap_or(false) });
        rules
    }

    fn rule(&mut self, table: &DeTable, line: usize) -> Option<Rule> {
        let is_whole = self.check_keys(table, Table::Rule);
        let ports = self.optional(table, PORTS);
        let from: Option<Addresses> = self.optional(table, FROM);
        let to: Option<Addresses> = self.optional(table, TO);
        let open = self.required(table, Table::Rule, OPEN, is_whole.then_some(line))?;
        let open = self.boolean(OPEN, open)?;
        Some(Rule { line: Some(line), ports, from: from.map(|list| list.0), to: to.map(|list| list.0), open })
    }

    /// Returns the value of a key. `None` if the table does not have it, or if the value has a mistake.
    fn optional<T: FromStr<Err = ValueError>>(&mut self, table: &DeTable, key: Key) -> Option<T> {
        table.get(key.name).and_then(|value| self.parsed(key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_have_their_line_cause_and_remedy() {
        let rule = "[[rule]]\nopen = true\n";
        for (line, message, hint) in [
            ("prots = \"22\"", "\"prots\" is not a key of a rule", "did you mean ports?"),
            ("action = \"22\"", "\"action\" is not a key of a rule", "use one of ports, from, to, open"),
            ("default_open = true", "\"default_open\" is not a key of a rule", "write it above the first [[rule]]"),
            ("ports = \"22-x\"", "\"x\" is not a port from 0 to 65535", "a list looks like 22,8000-8999"),
            ("ports = \"9-5\"", "the range 9-5 is reversed: write 5-9", ""),
            ("ports = 70000", "\"70000\" is not a port from 0 to 65535", "a list looks like 22,8000-8999"),
            ("ports = [22]", "ports must be a string, not a list", "write ports = \"22,8000-8999\""),
            ("from = \"10.0.0.0/33\"", "\"10.0.0.0/33\" is not an address or a prefix", "a list looks like 192.0.2.1,"),
            ("to = \"::ffff:192.0.2.1\"", "::ffff:192.0.2.1/128 is an IPv4-mapped prefix: write 192.0.2.1/32", ""),
            ("to = \"web1\"", "\"web1\" is not an address or a prefix", "a list looks like 192.0.2.1,"),
            ("to = \"\"", "empty entry in the list", "a list looks like 192.0.2.1,"),
        ] {
            let error = Policy::parse(&format!("{rule}{line}\n"), "test").unwrap_err();
            assert_eq!(error.to_string(), format!("line 3: {message}"));
            assert!(error.hint().unwrap_or_default().starts_with(hint), "{line} {error:?}");
        }
        for (text, message, hint) in [
            (
                "default_closed = true",
                "line 1: \"default_closed\" is not a key of a policy",
                "did you mean default_open?",
            ),
            ("ports = \"22\"", "line 1: \"ports\" is not a key of a policy", "write it below [[rule]]"),
            ("[[rules]]\nopen = true\n", "line 1: \"rules\" is not a key of a policy", "write [[rule]]"),
            ("\n[[rule]]\nports = 22\n", "line 2: the rule has no open", "add open = true"),
            ("[[rule]]\nopen = \"yes\"\n", "line 2: open must be true or false, not a string", "write open = true"),
            ("[rule]\nopen = true\n", "line 1: rule must be a list of tables, not a table", "write [[rule]]"),
            ("rule = [\n1]", "line 2: each rule must be a table, not a number", "write [[rule]]"),
            (
                "default_open = 1",
                "line 1: default_open must be true or false, not a number",
                "write default_open = true",
            ),
        ] {
            let error = Policy::parse(text, "test").unwrap_err();
            assert_eq!((error.to_string().as_str(), error.hint().as_deref()), (message, Some(hint)), "{text}");
        }
        assert!(Policy::parse("default_open = tru\n", "test").unwrap_err().to_string().starts_with("line 1: "));
    }

    #[test]
    fn the_first_mistake_is_named() {
        let text = "[[rule]]\nports = \"a\"\n\n[[rule]]\nopen = 1\n";
        assert_eq!(Policy::parse(text, "test").unwrap_err().line(), 1);
    }
}
