//! A cable of two TAP devices in two namespaces. A thread carries the frames.

use std::ffi::{c_char, c_short};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc::{self, IFF_NO_PI, IFF_TAP, TUNSETIFF, ifreq};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::fixtures::namespace::Namespace;

/// The size of the largest frame, in bytes. The MTU of a TAP device is below it.
const LARGEST: usize = 1 << 16;

/// Two connected TAP devices. They disappear when this value is dropped.
pub struct TapCable {
    is_over: Arc<AtomicBool>,
    carrier: Option<JoinHandle<()>>,
}

impl TapCable {
    /// Creates a TAP device with a name in each of two namespaces.
    pub fn new(ends: [(&Namespace, &str); 2]) -> Self {
        let ends = ends.map(|(namespace, name)| namespace.enter(|| open(name)));
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = is_over.clone();
        let carrier = Some(thread::spawn(move || carry(&ends, &flag)));
        Self { is_over, carrier }
    }
}

impl Drop for TapCable {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let carried = self.carrier.take().map(JoinHandle::join);
        assert!(carried.is_some_and(|result| result.is_ok()) || thread::panicking());
    }
}

/// Creates a TAP device in the namespace of the calling thread.
fn open(name: &str) -> File {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let file = options.open("/dev/net/tun").unwrap();
    let mut ifr_name = [0; libc::IFNAMSIZ];
    ifr_name.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from as c_char);
    let flags = (IFF_TAP | IFF_NO_PI) as c_short;
    let request = ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
    // SAFETY: `request` is initialized and outlives the call.
    Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw const request) }).unwrap();
    file
}

/// Carries each frame from one device to the other, until `is_over` is set.
fn carry(ends: &[File; 2], is_over: &AtomicBool) {
    let mut frame = vec![0; LARGEST];
    while !is_over.load(Ordering::Relaxed) {
        let mut ready = [0, 1].map(|end| PollFd::new(ends[end].as_fd(), PollFlags::POLLIN));
        poll(&mut ready, PollTimeout::from(20u8)).unwrap();
        for (from, to) in [(0, 1), (1, 0)] {
            while let Some(length) = receive(&ends[from], &mut frame) {
                // A device that is down refuses the frame, as a NIC that is down loses it.
                let _ = (&ends[to]).write(&frame[..length]);
            }
        }
    }
}

/// Reads a frame, and returns its length. Returns `None` if no frame waits.
fn receive(mut device: &File, frame: &mut [u8]) -> Option<usize> {
    match device.read(frame) {
        Ok(length) => Some(length),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("{error}"),
    }
}
