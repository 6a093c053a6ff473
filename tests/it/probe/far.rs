//! The file of the port report that `--far` waits for.

use std::fs;

use crate::fixtures::command::BINARY;
use crate::fixtures::network::{HOST, HOST_V6, switched};
use crate::fixtures::probe::run_probe;
use crate::fixtures::process::Process;

/// Checks that a report from before the probe is not used, and that the results are printed if the new one is
/// malformed.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn only_a_new_report_is_used() {
    let [_switch, host, client] = switched();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("arrived.json");
    fs::write(&file, "{\"type\": \"report\", \"ports\": []}").unwrap();
    let mut command = client.command(BINARY);
    command.args(["probe", "--timeout", "300ms", "--ports", "79", "--far"]).arg(&file).arg(HOST.to_string());
    let probe = Process::start(&mut command);
    probe.stderr.wait_for("waiting for a new port report in ").expect("the probe waits for the report");
    fs::write(&file, "port,state\n").unwrap();
    let finished = probe.finish();
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stdout.starts_with("192.0.2.1: 0 open, 1 refused\n"), "{finished:?}");
    let error = finished.stderr.lines().nth(1).unwrap();
    assert!(error.starts_with(&format!("error: {} is not a port report in JSON: ", file.display())), "{error}");
    drop(host);
    let error = run_probe(&client, &format!("--far {}/arrived.json {HOST}", file.display()));
    assert_eq!((error.status.code(), error.stdout.as_str()), (Some(1), ""));
    assert!(error.stderr.ends_with(": Not a directory (os error 20)\n"), "{error:?}");
    let error = run_probe(&client, &format!("--far arrived.json {HOST} {HOST_V6}"));
    assert_eq!(error.status.code(), Some(2));
    assert!(error.stderr.starts_with("error: --far requires exactly one host\n  hint: "), "{error:?}");
}
