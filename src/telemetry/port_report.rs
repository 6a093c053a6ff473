//! The port report (`--report`): the state, SYNs, completed handshakes, times and clients of each port.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Serialize, Serializer};
use tcp_bounce_wire::ClientCounts;
use tempfile::{NamedTempFile, PersistError};

use super::comparison::{Comparison, ComparisonRow, Expectation};
use super::port_activity::PortActivities;
use super::port_counts::PortCounts;
use super::{ClientEvent, TelemetryError};
use crate::config::{PortSelection, ReportFile, ReportFormat};
use crate::output::SCHEMA_VERSION;
use crate::port_table::junit::{self, Case, Suite};
use crate::port_table::words;
use crate::responder::Scope;

/// The free space that must be available for the report at the start, in bytes. A report of a few ports fits in it.
const REQUIRED_SPACE: usize = 4096;

/// Collects the port report of a run.
pub struct PortReport {
    file: ReportFile,
    selection: PortSelection,
    started: Instant,
    activities: PortActivities,
    expectation: Option<Expectation>,
}

/// The contents of the report file.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(skip)]
    file: ReportFile,
    /// The time since the run was prepared.
    #[serde(skip)]
    elapsed: Duration,
    /// The comparison with the policy, if the file contains it.
    #[serde(skip)]
    comparison: Option<Comparison>,
    version: u32,
    r#type: &'static str,
    /// The time at which the report was written.
    #[serde(serialize_with = "timestamp")]
    time: Option<SystemTime>,
    interfaces: Vec<String>,
    /// The number of dropped events. Unless it is zero, times and sources may be incomplete. Counts are complete.
    events_dropped: u64,
    ports: Vec<Row>,
}

/// The entry of one port in the report file.
#[derive(Debug, Serialize)]
struct Row {
    port: u16,
    state: PortState,
    /// The SYNs in every state.
    syns: u64,
    completed: u64,
    #[serde(serialize_with = "timestamp")]
    first: Option<SystemTime>,
    #[serde(serialize_with = "timestamp")]
    last: Option<SystemTime>,
    sources: Vec<IpAddr>,
    #[serde(rename = "more_sources")]
    has_more_sources: bool,
    #[serde(serialize_with = "encoded")]
    payloads: Vec<Arc<[u8]>>,
    #[serde(rename = "more_payloads")]
    has_more_payloads: bool,
}

/// The treatment of a port during a run.
///
/// If a local listener was opened or closed during the run, the state is that of most SYNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum PortState {
    /// tcp-bounce answered.
    Answered,
    /// Left to a local listener.
    Listener,
    /// Left to the host by `--exclude-ports` or `--ports`.
    Excluded,
}

impl PortState {
    fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Listener => "listener",
            Self::Excluded => "excluded",
        }
    }
}

impl PortReport {
    /// Creates an empty report, and checks that it can be written later. The check leaves no file in the directory.
    ///
    /// `selection` are the ports that the user selected. An existing report stays until the first one of this run.
    ///
    /// # Errors
    ///
    /// [`TelemetryError::ReportNotRegular`] if the path names something other than a regular file.
    /// [`TelemetryError::Report`] if no file can be created in the directory, or the free space is too small.
    pub fn new(file: &ReportFile, selection: &PortSelection) -> Result<Self, TelemetryError> {
        let path = file.path();
        if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(TelemetryError::ReportNotRegular { path: path.to_owned() });
        }
        check_space(file).map_err(|source| TelemetryError::Report { path: path.to_owned(), source })?;
        Ok(Self {
            file: file.clone(),
            selection: selection.clone(),
            started: Instant::now(),
            activities: PortActivities::default(),
            expectation: None,
        })
    }

    /// Sets the policy that the report is compared with. `None` stands for no comparison.
    pub fn expecting(self, expectation: Option<Expectation>) -> Self {
        Self { expectation, ..self }
    }

    /// Adds the addresses that the comparison with a policy takes into account.
    pub fn add_scope(&mut self, scope: &Scope) {
        if let Some(expectation) = &mut self.expectation {
            expectation.add_destinations(scope.prefixes());
        }
    }

    /// Returns the time after which the report is written again during a run.
    pub fn interval(&self) -> Duration {
        self.file.interval()
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Adds the time, the client and the payload of an event.
    pub fn add(&mut self, event: &ClientEvent) {
        self.activities.add(event);
        if let Some(expectation) = &mut self.expectation {
            expectation.add(event);
        }
    }

    /// Returns the contents of the report as of now. `counts` returns the counts of a port.
    pub fn contents(&self, interfaces: &[String], counts: impl Fn(u16) -> PortCounts, events_dropped: u64) -> Report {
        Report {
            file: self.file.clone(),
            elapsed: self.started.elapsed(),
            comparison: (self.file.format() == ReportFormat::Junit).then(|| self.compare(&counts)).flatten(),
            version: SCHEMA_VERSION,
            r#type: "report",
            time: Some(SystemTime::now()),
            interfaces: interfaces.to_owned(),
            events_dropped,
            ports: (0..=u16::MAX).filter_map(|port| self.row(port, counts(port))).collect(),
        }
    }

    /// Compares the report with the policy, if there is one. `counts` returns the counts of a port.
    pub fn compare(&self, counts: impl Fn(u16) -> PortCounts) -> Option<Comparison> {
        self.expectation.as_ref().map(|expectation| expectation.compare(counts))
    }

    /// Returns the row of `port`. `None` if nothing arrived at the port.
    fn row(&self, port: u16, counts: PortCounts) -> Option<Row> {
        let PortCounts { answered: ClientCounts { syns, completed }, excluded_syns } = counts;
        let state = if !self.selection.contains(port) {
            PortState::Excluded
        } else if excluded_syns > syns {
            PortState::Listener
        } else {
            PortState::Answered
        };
        let row = || {
            let activity = self.activities.get(port);
            Row {
                port,
                state,
                syns: syns + excluded_syns,
                completed,
                first: activity.first,
                last: activity.last,
                sources: activity.sources.into_iter().collect(),
                has_more_sources: activity.has_more_sources,
                payloads: activity.payloads,
                has_more_payloads: activity.has_more_payloads,
            }
        };
        (syns + excluded_syns + completed > 0).then(row)
    }
}

impl Report {
    /// Returns the number of ports in the report.
    pub fn ports(&self) -> usize {
        self.ports.len()
    }

    /// Returns the comparison with the policy, if the file contains it.
    pub fn into_comparison(self) -> Option<Comparison> {
        self.comparison
    }

    /// Writes the last report of a run. Replaces an existing file only when the new one is complete.
    ///
    /// # Errors
    ///
    /// [`TelemetryError::Report`] if the file cannot be written, [`TelemetryError::ReportElsewhere`] if it cannot be
    /// renamed.
    pub fn write(&self) -> Result<(), TelemetryError> {
        let path = self.file.path().to_owned();
        let temporary = match self.write_temporary() {
            Ok(temporary) => temporary,
            Err(source) => return Err(TelemetryError::Report { path, source }),
        };
        temporary.persist(&path).map(drop).map_err(|PersistError { error: source, file }| match file.keep() {
            // The temporary file is kept, because it has the results of the whole run.
            Ok((_, kept)) => TelemetryError::ReportElsewhere { path, kept, source },
            Err(_) => TelemetryError::Report { path, source },
        })
    }

    /// Writes a report during a run, like [`Self::write`]. An error leaves no temporary file.
    ///
    /// # Errors
    ///
    /// The file cannot be written or renamed.
    pub fn write_interim(&self) -> io::Result<()> {
        self.write_temporary()?.persist(self.file.path()).map(drop).map_err(|error| error.error)
    }

    fn write_temporary(&self) -> io::Result<NamedTempFile<File>> {
        write_temporary(&self.file, |writer| match self.file.format() {
            ReportFormat::Json => write_json(writer, self),
            ReportFormat::Csv => write_csv(writer, self),
            ReportFormat::Junit => writer.write_all(junit_xml(self).as_bytes()),
        })
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
/// Spaces separate sources and payloads, and `...` after the last one stands for additional ones. No value needs
/// quotes.
fn write_csv(writer: &mut dyn Write, report: &Report) -> io::Result<()> {
    writeln!(writer, "port,state,syns,completed,first,last,sources,payloads")?;
    for row in &report.ports {
        let Row { port, state, syns, completed, .. } = row;
        let [first, last] = [row.first, row.last].map(|time| time.map(format_time).unwrap_or_default());
        let sources = words(row.sources.iter().map(IpAddr::to_string).collect(), row.has_more_sources);
        let payloads = words(encode(&row.payloads).collect(), row.has_more_payloads);
        writeln!(writer, "{port},{},{syns},{completed},{first},{last},{sources},{payloads}", state.name())?;
    }
    Ok(())
}

/// Returns the comparison with the policy as JUnit XML: a test case for each range of ports.
fn junit_xml(report: &Report) -> String {
    let rows = report.comparison.iter().flat_map(|comparison| &comparison.rows);
    let suite = Suite { name: report.interfaces.join(", "), cases: rows.map(case).collect() };
    junit::render("tcp-bounce", report.elapsed.as_secs_f64(), &[suite])
}

fn case(ComparisonRow { ports, outcome }: &ComparisonRow) -> Case {
    let clients = outcome.clients();
    let state = outcome.state.description();
    Case {
        name: format!("{}, {}", junit::name(*ports), outcome.rule_name()),
        seen: if clients.is_empty() { state.to_owned() } else { format!("{state}: {clients}") },
        expected: Some(outcome.expected).filter(|_| outcome.differs),
    }
}

/// Returns the payloads in Base64.
fn encode(payloads: &[Arc<[u8]>]) -> impl Iterator<Item = String> {
    payloads.iter().map(|payload| BASE64_STANDARD.encode(payload))
}

fn encoded<S: Serializer>(payloads: &[Arc<[u8]>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(encode(payloads))
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

    use super::*;
    use crate::config::PortList;
    use crate::telemetry::client_event::FirstData;

    const HEADER: &str = "port,state,syns,completed,first,last,sources,payloads\n";

    fn report(path: &Path, excluded: PortList) -> PortReport {
        let selection = PortSelection::new(None, excluded).unwrap();
        PortReport::new(&path.to_str().unwrap().parse().unwrap(), &selection).unwrap()
    }

    fn counts(syns: u64, completed: u64, excluded_syns: u64) -> PortCounts {
        PortCounts { answered: ClientCounts { syns, completed }, excluded_syns }
    }

    #[test]
    fn csv_names_sixteen_sources_and_marks_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.csv");
        let mut report = report(&path, PortList::default());
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
                data: None,
            });
        }
        let counts = |port| match port {
            80 => counts(17, 2, 0),
            // The events at this port were dropped.
            443 => counts(1, 0, 0),
            _ => PortCounts::default(),
        };
        let report = report.contents(&["eth0".to_owned()], counts, 1);
        report.write().unwrap();
        assert_eq!(report.ports(), 2);
        let sources: Vec<String> = (0..16).map(|client| format!("192.0.2.{client}")).collect();
        let expected = format!(
            "{HEADER}\
             80,answered,17,2,1970-01-01T00:00:00.000000Z,1970-01-01T00:00:00.000016Z,{} ...,\n\
             443,answered,1,0,,,,\n",
            sources.join(" ")
        );
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }

    #[test]
    fn csv_has_payloads_in_base64() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.csv");
        let mut report = report(&path, PortList::default());
        for payload in [&b"GET / HTTP/1.0\r\n\r\n"[..], b"\x00\xff\"\n", b"a", b"b", b"c"] {
            report.add(&ClientEvent {
                time: SystemTime::UNIX_EPOCH,
                interface: "eth0".into(),
                source: Ipv4Addr::new(192, 0, 2, 1).into(),
                source_port: 40_000,
                destination: Ipv4Addr::new(198, 51, 100, 1).into(),
                port: 80,
                event: "data",
                data: Some(FirstData { payload: payload.into(), payload_length: 9 }),
            });
        }
        report.contents(&[], |port| counts(u64::from(port == 80), 0, 0), 0).write_interim().unwrap();
        let text = fs::read_to_string(path).unwrap();
        assert!(text.ends_with(",192.0.2.1,R0VUIC8gSFRUUC8xLjANCg0K AP8iCg== YQ== Yg== ...\n"), "{text}");
    }

    #[test]
    fn names_the_state_of_ports_that_are_left_to_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.csv");
        let report = report(&path, "23,25".parse().unwrap());
        let counts = |port| match port {
            22 => counts(0, 0, 3),
            25 => counts(0, 0, 4),
            // Local listeners were opened during the run, early at port 80 and late at port 81.
            80 => counts(1, 1, 5),
            81 => counts(5, 5, 1),
            _ => PortCounts::default(),
        };
        report.contents(&[], counts, 0).write_interim().unwrap();
        let expected =
            format!("{HEADER}22,listener,3,0,,,,\n25,excluded,4,0,,,,\n80,listener,6,1,,,,\n81,answered,6,5,,,,\n");
        assert_eq!(fs::read_to_string(path).unwrap(), expected);
    }

    #[test]
    fn failed_interim_report_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.csv");
        let report = report(&path, PortList::default()).contents(&[], |_| PortCounts::default(), 0);
        fs::create_dir(&path).unwrap();
        report.write_interim().unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::remove_dir(&path).unwrap();
        report.write_interim().unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), HEADER);
    }
}
