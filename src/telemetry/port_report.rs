//! `--report`: what arrived, port by port, in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Seek as _, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::SystemTime;

use serde::{Serialize, Serializer};
use tcp_bounce_wire::ClientCounts;
use tempfile::NamedTempFile;

use super::ClientEvent;
use super::{SCHEMA_VERSION, TelemetryError};
use crate::config::{ReportFile, ReportFormat};

/// How many clients are named for a port.
const NAMED: usize = 16;

/// How much room there must be at the start, in bytes: that for a few ports.
const ROOM: usize = 4096;

/// What has arrived so far. Until it is written, what has the name of the file stays as it is.
pub struct PortReport {
    to: ReportFile,
    file: NamedTempFile,
    ports: BTreeMap<u16, Arrival>,
}

/// What is known of a port from events.
struct Arrival {
    first: SystemTime,
    last: SystemTime,
    sources: BTreeSet<IpAddr>,
    has_more: bool,
}

/// What there is in the file.
#[derive(Debug, Serialize)]
struct Report<'a> {
    version: u32,
    r#type: &'static str,
    /// When it was written.
    #[serde(serialize_with = "timestamp")]
    time: Option<SystemTime>,
    interfaces: &'a [&'a str],
    /// If some events were lost, times and sources may be incomplete; numbers never are.
    events_lost: u64,
    ports: Vec<Line>,
}

/// What there is of a port.
#[derive(Debug, Serialize)]
struct Line {
    port: u16,
    syns: u64,
    completed: u64,
    #[serde(serialize_with = "timestamp")]
    first: Option<SystemTime>,
    #[serde(serialize_with = "timestamp")]
    last: Option<SystemTime>,
    sources: Vec<IpAddr>,
    /// Whether there were more than are named.
    more_sources: bool,
}

fn timestamp<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| humantime::format_rfc3339_micros(time).to_string()).serialize(serializer)
}

impl PortReport {
    /// Nothing yet, but a place to write to.
    pub fn new(to: &ReportFile) -> Result<Self, TelemetryError> {
        let file = place(to).and_then(|file| check_room(file.as_file()).map(|()| file));
        let file = file.map_err(|source| TelemetryError::Report { path: to.path().to_owned(), source })?;
        Ok(Self { to: to.clone(), file, ports: BTreeMap::new() })
    }

    /// Takes note of an event.
    pub fn add(&mut self, event: &ClientEvent) {
        let ClientEvent { time, source, port, .. } = *event;
        let arrival = self.ports.entry(port).or_insert_with(|| Arrival {
            first: time,
            last: time,
            sources: BTreeSet::new(),
            has_more: false,
        });
        arrival.first = arrival.first.min(time);
        arrival.last = arrival.last.max(time);
        if arrival.sources.len() < NAMED || arrival.sources.contains(&source) {
            arrival.sources.insert(source);
        } else {
            arrival.has_more = true;
        }
    }

    /// Writes the file, with what was counted at each port.
    pub fn write(
        mut self,
        interfaces: &[&str],
        count: impl Fn(u16) -> ClientCounts,
        events_lost: u64,
    ) -> Result<(), TelemetryError> {
        let line = |port| {
            let ClientCounts { syns, completed } = count(port);
            let arrival = self.ports.get(&port);
            Line {
                port,
                syns,
                completed,
                first: arrival.map(|arrival| arrival.first),
                last: arrival.map(|arrival| arrival.last),
                sources: arrival.map(|arrival| arrival.sources.iter().copied().collect()).unwrap_or_default(),
                more_sources: arrival.is_some_and(|arrival| arrival.has_more),
            }
        };
        let ports = (0..=u16::MAX).map(line).filter(|line| line.syns > 0 || line.completed > 0).collect();
        let report = Report {
            version: SCHEMA_VERSION,
            r#type: "report",
            time: Some(SystemTime::now()),
            interfaces,
            events_lost,
            ports,
        };
        let written = match self.to.format() {
            ReportFormat::Json => write_json(&mut self.file, &report),
            ReportFormat::Csv => write_csv(&mut self.file, &report),
        };
        let path = self.to.path().to_owned();
        let written = written.and_then(|()| self.file.as_file().sync_all());
        if let Err(source) = written {
            return Err(TelemetryError::Report { path, source });
        }
        self.file.persist(&path).map(drop).map_err(|tempfile::PersistError { error, file }| {
            // What took hours is not thrown away.
            match file.keep() {
                Ok((_, kept)) => TelemetryError::ReportElsewhere { path, kept, source: error },
                Err(_) => TelemetryError::Report { path, source: error },
            }
        })
    }
}

/// A place to write to until the file has its name, in the same folder.
fn place(to: &ReportFile) -> io::Result<NamedTempFile> {
    if let Ok(there) = fs::symlink_metadata(to.path())
        && !there.is_file()
    {
        return Err(io::Error::other("what has this name is no regular file"));
    }
    // Like any file that is made; the umask takes away from that.
    let permissions = Permissions::from_mode(0o666);
    let place =
        tempfile::Builder::new().prefix(".tcp-bounce-report-").permissions(permissions).tempfile_in(to.folder());
    // The name that could not be made means nothing to anybody.
    place.map_err(|error| match error.to_string().split_once(" at path ") {
        Some((reason, _)) => io::Error::new(error.kind(), reason),
        None => error,
    })
}

/// Checks that a file may be written to, and leaves it empty. A full disk may yet have room for its name.
fn check_room(mut file: &File) -> io::Result<()> {
    file.write_all(&[0; ROOM])?;
    // Some file systems look for room no sooner than now.
    file.sync_all()?;
    file.set_len(0)?;
    file.rewind()
}

fn write_json(file: &mut NamedTempFile, report: &Report) -> io::Result<()> {
    let mut writer = BufWriter::new(file);
    serde_json::to_writer_pretty(&mut writer, report)?;
    writeln!(writer)?;
    writer.flush()
}

/// A line for each port; sources are separated by spaces, and `...` stands for those that are not named.
fn write_csv(file: &mut NamedTempFile, report: &Report) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(file);
    writer.write_record(["port", "syns", "completed", "first", "last", "sources"])?;
    let text = |time: Option<SystemTime>| time.map(|time| humantime::format_rfc3339_micros(time).to_string());
    for Line { port, syns, completed, first, last, sources, more_sources } in &report.ports {
        let mut sources: Vec<String> = sources.iter().map(IpAddr::to_string).collect();
        sources.extend(more_sources.then(|| "...".to_owned()));
        writer.write_record([
            port.to_string(),
            syns.to_string(),
            completed.to_string(),
            text(*first).unwrap_or_default(),
            text(*last).unwrap_or_default(),
            sources.join(" "),
        ])?;
    }
    writer.flush()
}
