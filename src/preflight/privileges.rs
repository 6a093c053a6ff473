//! Findings about dropping privileges: protections that do not take effect.

use std::path::Path;

use super::finding::{Finding, Severity};
use crate::process::ProcessError;
use crate::process::privileges::{self, PrivilegeGap};

/// Returns a warning for each protection that will not take effect when a run drops its privileges.
///
/// `folder` is the directory of the port report. If privileges cannot be dropped at all, returns an error finding
/// instead.
pub fn predict(folder: Option<&Path>) -> Vec<Finding> {
    match privileges::predict_gaps(folder).map_err(ProcessError::Privileges) {
        Ok(gaps) => gaps.into_iter().map(warning).collect(),
        Err(error) => vec![Finding::from_error("privileges", &error, error.hint())],
    }
}

/// Converts `gap` to a warning with its code and hint.
pub fn warning(gap: PrivilegeGap) -> Finding {
    Finding { severity: Severity::Warning, ..Finding::from_error(gap.code(), &gap, Some(gap.hint().to_owned())) }
}
