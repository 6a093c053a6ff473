//! Explanations of errors: the chain of causes, and the remedy for a lack of memory.

use std::error::Error;
use std::io;
use std::iter;

/// The remedy for a lack of memory.
pub const MEMORY_HINT: &str = "raise the limit of memory or of threads, as of the service (MemoryMax=, LimitAS=, TasksMax=), the container or \
                               `ulimit`; without --top, --report and --watch it takes less";

/// Returns `error` and its causes in one line.
pub fn with_causes(error: &dyn Error) -> String {
    causes(error).fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

/// Returns [`MEMORY_HINT`] if memory ran out.
///
/// A thread that cannot be started counts as well: `EAGAIN` usually means that memory or the number of threads is
/// limited.
pub fn memory_hint(error: &dyn Error) -> Option<String> {
    let is_shortage = |error: &(dyn Error + 'static)| {
        let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
        let libbpf = error.downcast_ref::<libbpf_rs::Error>().map(libbpf_rs::Error::kind);
        matches!(io, Some(io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock))
            || matches!(libbpf, Some(libbpf_rs::ErrorKind::OutOfMemory | libbpf_rs::ErrorKind::WouldBlock))
    };
    causes(error).any(is_shortage).then(|| MEMORY_HINT.to_owned())
}

/// Returns the causes of `error`, without `error` itself.
fn causes(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    iter::successors(error.source(), |&error| error.source())
}
