//! The file of the far side's port report. Only a version that is written after the probe counts.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::ProbeError;
use super::far::FarReport;
use crate::config::read_text_up_to;

/// The largest report, in bytes. All ports with 16 IPv6 clients each, and 16 MiB of payloads, take about 120 MB.
const LARGEST: u64 = 256 << 20;

/// The maximum time to wait for the report. Somebody may have to stop tcp-bounce on the far side, and to copy the file.
const PATIENCE: Duration = Duration::from_secs(600);

/// The time between two looks at the file.
const INTERVAL: Duration = Duration::from_millis(100);

/// The precision of the times of files. A file may seem to be older than it is, usually by less than this time.
const PRECISION: Duration = Duration::from_millis(20);

impl FarReport {
    /// Checks that the path can lead to a file. The file may appear later.
    ///
    /// # Errors
    ///
    /// [`ProbeError::ReadFarReport`].
    pub fn check_path(path: &Path) -> Result<(), ProbeError> {
        changed(path).map(drop)
    }

    /// Reads a port report that is written after this call. Waits for it, and calls `waiting` before.
    ///
    /// # Errors
    ///
    /// [`ProbeError::NoFarReport`], [`ProbeError::ReadFarReport`] or [`ProbeError::FarReport`].
    pub fn wait(path: &Path, waiting: impl FnOnce()) -> Result<Self, ProbeError> {
        // A file from just before this call must not seem new.
        thread::sleep(PRECISION);
        let (now, started) = (SystemTime::now(), Instant::now());
        let mut waiting = Some(waiting);
        loop {
            let is_over = started.elapsed() >= PATIENCE;
            if changed(path)?.is_some_and(|changed| changed + PRECISION > now) {
                match Self::read(path)? {
                    // Somebody is still copying the file.
                    Err(error) if error.is_eof() && !is_over => {}
                    report => {
                        return report.map_err(|source| ProbeError::FarReport { path: path.to_owned(), source });
                    }
                }
            } else if is_over {
                return Err(ProbeError::NoFarReport { path: path.to_owned() });
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            thread::sleep(INTERVAL);
        }
    }

    fn read(path: &Path) -> Result<serde_json::Result<Self>, ProbeError> {
        let text = read_text_up_to(path, LARGEST);
        let text = text.map_err(|source| ProbeError::ReadFarReport { path: path.to_owned(), source })?;
        Ok(Self::parse(&text))
    }
}

/// Returns the time of the last change of a file by the clock of this host, or `None` if there is no file. `scp -p`
/// sets the time of the modification by the clock of another host.
fn changed(path: &Path) -> Result<Option<SystemTime>, ProbeError> {
    match fs::metadata(path) {
        Ok(metadata) => {
            let (seconds, nanoseconds) = (metadata.ctime(), metadata.ctime_nsec());
            let since_epoch = Duration::new(seconds.try_into().unwrap_or(0), nanoseconds.try_into().unwrap_or(0));
            Ok(Some(SystemTime::UNIX_EPOCH + since_epoch))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ProbeError::ReadFarReport { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    fn report(port: u16) -> String {
        format!(r#"{{"type": "report", "ports": [{{"port": {port}, "state": "answered", "completed": 1}}]}}"#)
    }

    #[test]
    fn a_report_from_just_before_the_call_is_not_used() {
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

    #[test]
    fn a_report_that_is_being_copied_is_read_when_it_is_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let copy = || {
            let mut copy = File::create(file.path()).unwrap();
            let text = report(80);
            let (first, rest) = text.split_at(text.len() / 2);
            copy.write_all(first.as_bytes()).unwrap();
            // The first part alone is read at least once.
            thread::sleep(3 * INTERVAL);
            copy.write_all(rest.as_bytes()).unwrap();
        };
        let read = thread::scope(|scope| {
            FarReport::wait(file.path(), || {
                thread::sleep(10 * PRECISION);
                scope.spawn(copy);
            })
        });
        assert_eq!(read.unwrap(), FarReport::parse(&report(80)).unwrap());
    }

    /// The far side's clock may be wrong, and `scp -p` keeps its time.
    #[test]
    fn the_time_of_the_far_side_does_not_matter() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = || {
            thread::sleep(10 * PRECISION);
            fs::write(&file, report(80)).unwrap();
            file.as_file().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        };
        assert_eq!(FarReport::wait(file.path(), write).unwrap(), FarReport::parse(&report(80)).unwrap());
    }

    #[test]
    fn a_path_that_leads_nowhere_is_an_error_at_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().join("arrived.json");
        let error = FarReport::check_path(&path).unwrap_err();
        let ProbeError::ReadFarReport { source, .. } = &error else { panic!("{error:?}") };
        assert_eq!(source.kind(), io::ErrorKind::NotADirectory);
        assert!(FarReport::wait(&path, || ()).is_err());
        assert!(FarReport::check_path(&file.path().with_file_name("missing")).is_ok());
    }

    /// A report about all ports, with a client each, has 20 MB.
    #[test]
    fn reads_a_report_about_all_ports() {
        let padding = " ".repeat(20_000_000);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, report(80) + &padding).unwrap();
        assert!(FarReport::read(file.path()).unwrap().is_ok());
    }
}
