//! The keys of a file in TOML: their tables, the kinds of their values, and examples for hints.

use crate::config::similar::most_similar;

/// A key, or an item of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The name, as the file has it. For an item, a phrase.
    pub name: &'static str,
    /// A phrase for the kind of its value.
    pub expected: &'static str,
    /// An example that the user can type.
    pub example: &'static str,
}

/// A kind of table in a file.
pub trait Table: Copy {
    /// Returns the keys.
    fn keys(self) -> &'static [Key];

    /// Returns a noun without an article.
    fn noun(self) -> &'static str;

    /// Returns advice for a key that the table does not have. `has_keys` states that its value has keys itself.
    fn hint_for_unknown(self, name: &str, has_keys: bool) -> String;

    /// Returns whether the table has a key with this name.
    fn contains(self, name: &str) -> bool {
        self.keys().iter().any(|key| key.name == name)
    }

    /// Returns advice that names the most similar key, or all keys.
    fn hint_with_names(self, name: &str) -> String {
        let names = || self.keys().iter().map(|key| key.name);
        match most_similar(name, names()) {
            Some(similar) => format!("did you mean {similar}?"),
            None => format!("use one of {}", Vec::from_iter(names()).join(", ")),
        }
    }
}

/// The words of a kind of file, which explain mistakes in the syntax.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// The key of the list of tables that makes up the file, such as "service".
    pub list: &'static str,
    /// The keys that begin a line.
    pub keys: &'static [&'static [Key]],
    /// Advice that shows where an example is.
    pub example: &'static str,
    /// Advice that shows a list.
    pub list_hint: &'static str,
    /// Advice for an escape that is no character.
    pub escape_hint: &'static str,
}
