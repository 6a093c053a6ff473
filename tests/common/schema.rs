//! What is published of the JSON, and whether that is so: an independent validator tells.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

use super::process::Process;

const VALIDATE: &str = "
import json, jsonschema, sys

def strict(schema):
    # Names may be added, but not without a word about them.
    if isinstance(schema, dict):
        closed = {'additionalProperties': False} if 'properties' in schema else {}
        return closed | {name: strict(value) for name, value in schema.items()}
    return [strict(value) for value in schema] if isinstance(schema, list) else schema

schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(strict(schema), format_checker=jsonschema.FormatChecker())
for line in sys.stdin:
    value = json.loads(line)
    # What is wrong is told more exactly of one type.
    validator.evolve(schema={'$ref': '#/$defs/' + value['type']}).validate(value)
    validator.validate(value)
";

/// Whether these values are as the schema says, with no other names: what is wrong, if they are not.
pub fn validate(values: &[Value]) -> Result<(), String> {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", VALIDATE, concat!(env!("CARGO_MANIFEST_DIR"), "/docs/output.schema.json")]);
    let mut process = Process::start_as_is(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut stdin = process.child.stdin.take().unwrap();
    let lines: String = values.iter().map(|value| format!("{value}\n")).collect();
    thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let finished = process.finish();
    if finished.status.success() { Ok(()) } else { Err(finished.stderr) }
}
