//! What passes an interface, as tshark reads it.

use std::io;
use std::process::Stdio;

use super::namespace::Namespace;
use super::process::Process;

/// A capture that ends with its last packet.
pub struct Capture {
    tshark: Process,
    _dumpcap: Process,
}

impl Capture {
    /// Starts a capture of the next `packets` packets that `filter`, in the language of pcap, lets through.
    ///
    /// tshark will check all checksums and print these fields of each packet.
    pub fn start(namespace: &Namespace, interface: &str, filter: &str, packets: usize, fields: &[&str]) -> Self {
        let (reader, writer) = io::pipe().unwrap();
        let mut tshark = namespace.command("tshark");
        tshark.args(["-n", "-r", "-", "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-T", "fields"]);
        tshark.args(fields.iter().flat_map(|field| ["-e", field]));
        tshark.stdin(reader).stdout(Stdio::piped()).stderr(Stdio::null());

        let mut dumpcap = namespace.command("dumpcap");
        dumpcap.args(["-q", "-i", interface, "-f", filter, "-c", &packets.to_string(), "-w", "-"]);
        dumpcap.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());

        let (tshark, dumpcap) = (Process::start_as_is(&mut tshark), Process::start_as_is(&mut dumpcap));
        dumpcap.stderr.wait_for("File: ").expect("dumpcap says where to");
        Self { tshark, _dumpcap: dumpcap }
    }

    /// The fields of all the packets, when the last of them has come.
    #[track_caller]
    pub fn packets(self) -> Vec<Vec<String>> {
        let lines = self.tshark.finish().success();
        lines.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }
}
