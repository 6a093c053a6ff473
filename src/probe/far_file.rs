//! The file of the far side's port report. Only a version that is written after the probe counts.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::ProbeError;
use super::far::FarReport;
use crate::config::read_text;

/// The maximum time to wait for the report. Somebody may have to stop tcp-bounce on the far side, and to copy the file.
const PATIENCE: Duration = Duration::from_secs(600);

/// The time between two looks at the file.
const INTERVAL: Duration = Duration::from_millis(100);

/// The precision of the times of files. A file may seem to be older than it is, usually by less than this time.
const PRECISION: Duration = Duration::from_millis(20);

impl FarReport {
    /// Reads a port report that is written after this call. Waits for it, and calls `waiting` before.
    ///
    /// # Errors
    ///
    /// [`ProbeError::NoFarReport`], [`ProbeError::ReadFarReport`] or [`ProbeError::FarReport`].
    pub fn wait(path: &Path, waiting: impl FnOnce()) -> Result<Self, ProbeError> {
        // A file from just before this call must not seem new.
        thread::sleep(PRECISION);
        let now = SystemTime::now();
        let is_new = || {
            let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
            modified.is_ok_and(|modified| modified + PRECISION > now)
        };
        if !is_new() {
            waiting();
        }
        let started = Instant::now();
        while !is_new() {
            if started.elapsed() >= PATIENCE {
                return Err(ProbeError::NoFarReport { path: path.to_owned() });
            }
            thread::sleep(INTERVAL);
        }
        let text = read_text(path).map_err(|source| ProbeError::ReadFarReport { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|source| ProbeError::FarReport { path: path.to_owned(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_from_just_before_the_call_is_not_used() {
        let report = |port| {
            format!(r#"{{"type": "report", "ports": [{{"port": {port}, "state": "answered", "completed": 1}}]}}"#)
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, report(22)).unwrap();
        let write = || {
            // On a busy virtual machine, the clock of files may lag behind by more than their precision.
            thread::sleep(10 * PRECISION);
            fs::write(&file, report(80)).unwrap();
        };
        let read = FarReport::wait(file.path(), write).unwrap();
        assert_eq!(read, FarReport::parse(&report(80)).unwrap());
    }
}
