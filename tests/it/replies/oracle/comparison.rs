//! Comparisons of the kernel's replies with tcp-bounce's.

use std::fmt::{self, Display, Formatter};
use std::iter;

use super::frame::{Frame, hex};

/// The summary of a comparison without differences.
pub const IDENTICAL: &str = "identical";

/// The replies of the kernel and of tcp-bounce to one segment.
///
/// The frames are comparable: fields that differ for each connection have fixed values (see [`Frame::comparable`]).
#[derive(Clone)]
pub struct Comparison {
    /// The name of the segment.
    pub segment: String,
    /// The mode, the IP version and the state of the host's kernel.
    pub setting: String,
    pub kernel: Option<Frame>,
    pub responder: Option<Frame>,
}

impl Comparison {
    /// Returns the names of the fields that differ, or [`IDENTICAL`]. If only one side answered, returns "answered" or
    /// "not answered" instead, for tcp-bounce.
    pub fn summary(&self) -> String {
        let (kernel, responder) = match (&self.kernel, &self.responder) {
            (Some(kernel), Some(responder)) => (kernel, responder),
            (None, None) => return IDENTICAL.to_owned(),
            (Some(_), None) => return "not answered".to_owned(),
            (None, Some(_)) => return "answered".to_owned(),
        };
        let fields = iter::zip(kernel.fields(), responder.fields());
        let mut names: Vec<_> =
            fields.filter(|(kernel, responder)| kernel != responder).map(|((name, _), _)| name).collect();
        names.dedup();
        if names.is_empty() { IDENTICAL.to_owned() } else { names.join(", ") }
    }

    /// Returns the offsets of the bytes that differ, from the start of the frame.
    fn offsets(&self) -> Vec<usize> {
        let [kernel, responder] =
            [&self.kernel, &self.responder].map(|frame| frame.as_ref().map_or(&[][..], Frame::bytes));
        (0..kernel.len().max(responder.len())).filter(|&at| kernel.get(at) != responder.get(at)).collect()
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let [kernel, responder] = [&self.kernel, &self.responder]
            .map(|frame| frame.as_ref().map_or("nothing".to_owned(), |frame| hex(frame.bytes())));
        writeln!(f, "{}; {}: {}", self.segment, self.setting, self.summary())?;
        writeln!(f, "  kernel:     {kernel}\n  tcp-bounce: {responder}\n  offsets:    {:?}", self.offsets())
    }
}

/// Checks that all replies are identical. Lists each difference, with the bytes of both replies.
#[track_caller]
pub fn assert_identical(comparisons: &[Comparison]) {
    let different: Vec<_> = comparisons.iter().filter(|comparison| comparison.summary() != IDENTICAL).collect();
    let lines: String = different.iter().map(|comparison| format!("{comparison}\n")).collect();
    assert!(different.is_empty(), "{lines}{} of {} replies differ", different.len(), comparisons.len());
}
