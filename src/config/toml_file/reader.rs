//! The reader of tables and values. It collects the mistakes in them.

use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::TomlError;
use super::keys::{Key, Table};
use super::source::Source;
use crate::config::ValueError;

/// A value with its place in the text.
pub type Value<'a> = Spanned<DeValue<'a>>;

/// The reader of a file's tables. A part with a mistake is left out.
pub struct Reader<'a, Mistake = TomlError> {
    /// The text.
    pub source: Source<'a>,
    /// The mistakes so far.
    pub mistakes: Vec<Mistake>,
}

impl<'t, Mistake: From<TomlError>> Reader<'t, Mistake> {
    /// Returns a reader of `text`.
    pub fn new(text: &'t str) -> Self {
        Self { source: Source::new(text), mistakes: Vec::new() }
    }

    /// Returns the line in which a value begins.
    pub fn line(&self, value: &Value) -> usize {
        self.source.line(value.span().start)
    }

    /// Refuses unknown keys. Returns whether there are none.
    pub fn check_keys(&mut self, table: &DeTable, kind: impl Table) -> bool {
        let unknown = table.iter().filter(|(key, _)| !kind.contains(key.get_ref()));
        let refused = unknown.map(|(key, value)| TomlError::UnknownKey {
            line: self.source.line(key.span().start),
            table: kind.noun(),
            key: key.get_ref().escape_debug().to_string(),
            hint: kind.hint_for_unknown(key.get_ref(), has_keys(value.get_ref())),
        });
        let refused: Vec<Mistake> = refused.map(Mistake::from).collect();
        let is_known = refused.is_empty();
        self.mistakes.extend(refused);
        is_known
    }

    /// Returns the value of a key that the table must have. `line` is the line of the table. `None` allows the key to
    /// be missing, because the table has an unknown key, which may be a misspelling of it.
    pub fn required<'v, 'a>(
        &mut self,
        table: &'v DeTable<'a>,
        kind: impl Table,
        key: Key,
        line: Option<usize>,
    ) -> Option<&'v Value<'a>> {
        let value = table.get(key.name);
        if let (None, Some(line)) = (value, line) {
            let Key { name, example, .. } = key;
            self.mistakes.push(TomlError::MissingKey { line, table: kind.noun(), key: name, example }.into());
        }
        value
    }

    /// Refuses a value because of its type.
    pub fn refuse_type<T>(&mut self, key: Key, value: &Value) -> Option<T> {
        let Key { name, expected, example } = key;
        let (line, found) = (self.line(value), description(value.get_ref()));
        self.mistakes.push(TomlError::WrongType { line, key: name, found, expected, example }.into());
        None
    }

    /// Refuses a malformed value.
    pub fn refuse<T>(&mut self, value: &Value, reason: ValueError) -> Option<T> {
        self.mistakes.push(TomlError::Malformed { line: self.line(value), reason }.into());
        None
    }

    /// Returns the text of a string.
    pub fn string<'v>(&mut self, key: Key, value: &'v Value) -> Option<&'v str> {
        value.get_ref().as_str().or_else(|| self.refuse_type(key, value))
    }

    /// Returns the text of a string, or the digits of a whole number.
    pub fn text(&mut self, key: Key, value: &Value) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) => {
                let decimal = i64::from_str_radix(number.as_str(), number.radix());
                Some(decimal.map_or_else(|_| number.to_string(), |number| number.to_string()))
            }
            _ => self.refuse_type(key, value),
        }
    }

    /// Returns the value of a string or a number, as the type `T` parses it.
    pub fn parsed<T: FromStr<Err = ValueError>>(&mut self, key: Key, value: &Value) -> Option<T> {
        match self.text(key, value)?.parse() {
            Ok(parsed) => Some(parsed),
            Err(reason) => self.refuse(value, reason),
        }
    }

    /// Returns the value of a boolean.
    pub fn boolean(&mut self, key: Key, value: &Value) -> Option<bool> {
        value.get_ref().as_bool().or_else(|| self.refuse_type(key, value))
    }

    /// Returns the items of a list.
    pub fn list<'v, 'a>(&mut self, key: Key, value: &'v Value<'a>) -> Option<&'v [Value<'a>]> {
        value.get_ref().as_array().map(|items| &items[..]).or_else(|| self.refuse_type(key, value))
    }

    /// Returns the keys and values of a table.
    pub fn table<'v, 'a>(&mut self, key: Key, value: &'v Value<'a>) -> Option<&'v DeTable<'a>> {
        value.get_ref().as_table().or_else(|| self.refuse_type(key, value))
    }
}

/// Returns whether a value is a table or a list of tables.
fn has_keys(value: &DeValue) -> bool {
    match value {
        DeValue::Table(_) => true,
        DeValue::Array(items) => items.iter().any(|item| item.get_ref().is_table()),
        _ => false,
    }
}

/// Returns a phrase for the type of a value.
fn description(value: &DeValue) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
