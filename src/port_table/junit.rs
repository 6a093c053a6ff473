//! JUnit XML, which CI systems show: a test case for each range of ports.

use std::fmt::Write as _;

use super::PortRange;

/// A test suite.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The name.
    pub name: String,
    /// The test cases.
    pub cases: Vec<Case>,
}

/// A test case.
#[derive(Clone, Debug)]
pub struct Case {
    /// The ports and, if it is needed to tell cases apart, an addition.
    pub name: String,
    /// A phrase for the state of the ports.
    pub seen: String,
    /// The word for the expected state, if the ports differ from it.
    pub expected: Option<&'static str>,
}

/// Returns the name of a test case for a range of ports.
pub fn name(ports: PortRange) -> String {
    let noun = if ports.first == ports.last { "port" } else { "ports" };
    format!("{noun} {ports}")
}

/// Returns the XML. `command` is the command that made it, and `elapsed` its duration in seconds.
pub fn render(command: &str, elapsed: f64, suites: &[Suite]) -> String {
    let tests: usize = suites.iter().map(|suite| suite.cases.len()).sum();
    let failures: usize = suites.iter().map(Suite::failures).sum();
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    // Writing to a string cannot fail.
    let _ = writeln!(
        xml,
        "<testsuites name=\"{command}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" time=\"{elapsed:.3}\">"
    );
    suites.iter().for_each(|suite| suite.append(&mut xml));
    xml.push_str("</testsuites>\n");
    xml
}

impl Suite {
    fn failures(&self) -> usize {
        self.cases.iter().filter(|case| case.expected.is_some()).count()
    }

    fn append(&self, xml: &mut String) {
        let name = escaped(&self.name);
        let (tests, failures) = (self.cases.len(), self.failures());
        let _ = writeln!(xml, "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\">");
        for case in &self.cases {
            let _ = writeln!(xml, "    <testcase classname=\"{name}\" name=\"{}\">", escaped(&case.name));
            let seen = escaped(&case.seen);
            let _ = match case.expected {
                Some(expected) => {
                    writeln!(xml, "      <failure type=\"difference\" message=\"expected {expected}, but {seen}\"/>")
                }
                None => writeln!(xml, "      <system-out>{seen}</system-out>"),
            };
            xml.push_str("    </testcase>\n");
        }
        xml.push_str("  </testsuite>\n");
    }
}

/// Returns `text` with the characters escaped that XML interprets. Received data has only printable characters.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
