//! Explanations of errors: the chain of causes, the hint for a lack of memory or threads, and paths in commands.

use std::error::Error;
use std::io;
use std::iter;
use std::path::Path;

/// The hint for an error whose cause is a lack of memory or threads.
pub const MEMORY_HINT: &str = "raise the limit of memory or threads (`ulimit`, or MemoryMax=, LimitAS= or TasksMax= in \
                               the service), or save memory without --top-talkers, --report and --tui";

/// Returns `error` and its causes in one line.
pub fn with_causes(error: &dyn Error) -> String {
    causes(error).fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

/// Returns `path` as a word of a shell command. Quotes it if it has characters with a meaning to the shell.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "/._-+=:,@%".contains(it);
    // Otherwise a command would take it for an option.
    let text = if text.starts_with('-') { format!("./{text}") } else { text };
    if !text.is_empty() && text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Returns [`MEMORY_HINT`] if a cause of `error` is a lack of memory or threads.
///
/// `EAGAIN` is included: a thread that cannot be started usually means a limit of memory or of threads.
pub fn memory_hint(error: &dyn Error) -> Option<String> {
    let is_shortage = |error: &(dyn Error + 'static)| {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock))
    };
    causes(error).any(is_shortage).then(|| MEMORY_HINT.to_owned())
}

/// Returns the causes of `error`, from the direct cause to the root cause.
pub fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    iter::successors(error.source(), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_single_words_of_the_shell() {
        for (path, word) in [
            ("/etc/tcp-bounce.key", "/etc/tcp-bounce.key"),
            ("my key", "'my key'"),
            ("$(reboot)", "'$(reboot)'"),
            ("it's", r"'it'\''s'"),
            ("-r", "./-r"),
            ("~root", "'~root'"),
        ] {
            assert_eq!(quoted(Path::new(path)), word);
        }
    }
}
