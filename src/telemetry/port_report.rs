//! Collects and writes the port report (`--report`): SYNs, completed handshakes, times and clients of each port.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::SystemTime;

use serde::{Serialize, Serializer};
use tcp_bounce_wire::ClientCounts;
use tempfile::{NamedTempFile, PersistError};

use super::{ClientEvent, SCHEMA_VERSION, TelemetryError};
use crate::config::{ReportFile, ReportFormat};

/// The maximum number of clients that the report lists for a port.
const MAX_SOURCES: usize = 16;

/// The free space that must be available for the report at the start, in bytes. A report of a few ports fits in it.
const REQUIRED_SPACE: usize = 4096;

/// Collects the port report of a run.
pub struct PortReport {
    file: ReportFile,
    ports: BTreeMap<u16, PortActivity>,
}

/// The times and clients of the events at one port.
struct PortActivity {
    first: SystemTime,
    last: SystemTime,
    sources: BTreeSet<IpAddr>,
    /// Whether there were more clients than `sources` contains.
    has_more_sources: bool,
}

/// The contents of the report file.
#[derive(Debug, Serialize)]
struct Report<'a> {
    version: u32,
    r#type: &'static str,
    /// The time at which the report was written.
    #[serde(serialize_with = "timestamp")]
    time: Option<SystemTime>,
    interfaces: &'a [&'a str],
    /// The number of dropped events. Unless it is zero, times and sources may be incomplete. Counts are complete.
    events_dropped: u64,
    ports: Vec<Row>,
}

/// The entry of one port in the report file.
#[derive(Debug, Serialize)]
struct Row {
    port: u16,
    syns: u64,
    completed: u64,
    #[serde(serialize_with = "timestamp")]
    first: Option<SystemTime>,
    #[serde(serialize_with = "timestamp")]
    last: Option<SystemTime>,
    sources: Vec<IpAddr>,
    #[serde(rename = "more_sources")]
    has_more_sources: bool,
}

impl PortReport {
    /// Creates an empty report, and checks that it can be written later. The check leaves no file in the directory.
    ///
    /// The file itself is not created before [`Self::write`], since `systemd-tmpfiles` might delete an unused file
    /// during a long run.
    ///
    /// # Errors
    ///
    /// [`TelemetryError::ReportNotRegular`] if the path names something other than a regular file.
    /// [`TelemetryError::Report`] if no file can be created in the directory, or the free space is too small.
    pub fn new(file: &ReportFile) -> Result<Self, TelemetryError> {
        let path = file.path();
        if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(TelemetryError::ReportNotRegular { path: path.to_owned() });
        }
        check_space(file).map_err(|source| TelemetryError::Report { path: path.to_owned(), source })?;
        Ok(Self { file: file.clone(), ports: BTreeMap::new() })
    }

    /// Adds the time and the client of an event.
    pub fn add(&mut self, event: &ClientEvent) {
        let ClientEvent { time, source, port, .. } = *event;
        let activity = self.ports.entry(port).or_insert_with(|| PortActivity {
            first: time,
            last: time,
            sources: BTreeSet::new(),
            has_more_sources: false,
        });
        activity.first = activity.first.min(time);
        activity.last = activity.last.max(time);
        if activity.sources.len() < MAX_SOURCES || activity.sources.contains(&source) {
            activity.sources.insert(source);
        } else {
            activity.has_more_sources = true;
        }
    }

    /// Writes the report. `counts` returns the counts of a port.
    ///
    /// An existing file is replaced only when the new report is complete.
    ///
    /// # Errors
    ///
    /// [`TelemetryError::Report`] if the file cannot be written, [`TelemetryError::ReportElsewhere`] if it cannot be
    /// renamed.
    pub fn write(
        self,
        interfaces: &[&str],
        counts: impl Fn(u16) -> ClientCounts,
        events_dropped: u64,
    ) -> Result<(), TelemetryError> {
        let rows = (0..=u16::MAX).map(|port| self.row(port, counts(port)));
        let report = Report {
            version: SCHEMA_VERSION,
            r#type: "report",
            time: Some(SystemTime::now()),
            interfaces,
            events_dropped,
            ports: rows.filter(|row| row.syns > 0 || row.completed > 0).collect(),
        };
        let path = self.file.path().to_owned();
        let written = write_temporary(&self.file, |writer| match self.file.format() {
            ReportFormat::Json => write_json(writer, &report),
            ReportFormat::Csv => write_csv(writer, &report),
        });
        let temporary = match written {
            Ok(temporary) => temporary,
            Err(source) => return Err(TelemetryError::Report { path, source }),
        };
        temporary.persist(&path).map(drop).map_err(|PersistError { error: source, file }| match file.keep() {
            // The temporary file is kept, because it has the results of the whole run.
            Ok((_, kept)) => TelemetryError::ReportElsewhere { path, kept, source },
            Err(_) => TelemetryError::Report { path, source },
        })
    }

    fn row(&self, port: u16, ClientCounts { syns, completed }: ClientCounts) -> Row {
        let activity = self.ports.get(&port);
        Row {
            port,
            syns,
            completed,
            first: activity.map(|activity| activity.first),
            last: activity.map(|activity| activity.last),
            sources: activity.map(|activity| activity.sources.iter().copied().collect()).unwrap_or_default(),
            has_more_sources: activity.is_some_and(|activity| activity.has_more_sources),
        }
    }
}

/// Checks that a file of [`REQUIRED_SPACE`] bytes can be written in the directory of `file`.
fn check_space(file: &ReportFile) -> io::Result<()> {
    // Creating an empty file is not enough: it may succeed on a full disk.
    write_temporary(file, |writer| writer.write_all(&[0; REQUIRED_SPACE])).map(drop)
}

/// Writes and syncs a temporary file in the directory of `file`.
///
/// Some file systems allocate space only when the file is synced, so a full disk may be reported only then.
fn write_temporary(
    file: &ReportFile,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<NamedTempFile<File>> {
    // The file is opened only for writing, because Landlock forbids the process to read files after it has dropped
    // its privileges. The umask applies to the mode.
    let create = |path: &_| OpenOptions::new().write(true).create_new(true).mode(0o666).open(path);
    let mut temporary = tempfile::Builder::new().prefix(".tcp-bounce-report-").make_in(file.folder(), create)?;
    let mut writer = BufWriter::new(temporary.as_file_mut());
    write(&mut writer)?;
    writer.flush()?;
    drop(writer);
    temporary.as_file().sync_all()?;
    Ok(temporary)
}

fn write_json(writer: &mut dyn Write, report: &Report) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *writer, report)?;
    writeln!(writer)
}

/// Writes a header, and a line for each port.
///
/// Spaces separate sources, and `...` after the last source stands for additional clients. No value needs quotes.
fn write_csv(writer: &mut dyn Write, report: &Report) -> io::Result<()> {
    writeln!(writer, "port,syns,completed,first,last,sources")?;
    for Row { port, syns, completed, first, last, sources, has_more_sources } in &report.ports {
        let [first, last] = [first, last].map(|time| time.map(format_time).unwrap_or_default());
        let mut sources: Vec<String> = sources.iter().map(IpAddr::to_string).collect();
        sources.extend(has_more_sources.then(|| "...".to_owned()));
        writeln!(writer, "{port},{syns},{completed},{first},{last},{}", sources.join(" "))?;
    }
    Ok(())
}

fn timestamp<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(format_time).serialize(serializer)
}

fn format_time(time: SystemTime) -> String {
    humantime::format_rfc3339_micros(time).to_string()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    #[test]
    fn csv_names_sixteen_sources_and_marks_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.csv");
        let mut report = PortReport::new(&path.to_str().unwrap().parse().unwrap()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "the check leaves no file behind");
        for client in 0..17 {
            report.add(&ClientEvent {
                time: SystemTime::UNIX_EPOCH + Duration::from_micros(client.into()),
                interface: "eth0".into(),
                source: Ipv4Addr::new(192, 0, 2, client).into(),
                source_port: 40_000,
                destination: Ipv4Addr::new(198, 51, 100, 1).into(),
                port: 80,
                event: "syn",
            });
        }
        let counts = |port| match port {
            80 => ClientCounts { syns: 17, completed: 2 },
            // The events at this port were dropped.
            443 => ClientCounts { syns: 1, completed: 0 },
            _ => ClientCounts::default(),
        };
        report.write(&["eth0"], counts, 1).unwrap();
        let sources: Vec<String> = (0..16).map(|client| format!("192.0.2.{client}")).collect();
        let expected = format!(
            "port,syns,completed,first,last,sources\n\
             80,17,2,1970-01-01T00:00:00.000000Z,1970-01-01T00:00:00.000016Z,{} ...\n\
             443,1,0,,,\n",
            sources.join(" ")
        );
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }
}
