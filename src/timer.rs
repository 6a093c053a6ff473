//! The end of a run at its time.

use std::sync::mpsc::Sender;
use std::time::Duration;
use std::{io, process, thread};

/// How long the run may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// Sends to `end` after `duration`, and ends the process a few seconds later, if it is still there.
///
/// A run that writes to a terminal whose connection is cut hangs as soon as the buffers on the way are full. The kernel
/// detaches what such a process holds when it ends.
pub fn start(duration: Duration, end: Sender<()>) -> io::Result<()> {
    let run = move || {
        thread::sleep(duration);
        // Nobody receives any more if the run is already over.
        let _ = end.send(());
        thread::sleep(GRACE);
        process::exit(0)
    };
    thread::Builder::new().spawn(run).map(drop)
}
