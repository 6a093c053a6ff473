//! Network namespaces without a name.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::panic;
use std::process::{self, Command};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use super::process::run;

/// A network namespace that exists as long as this value, or a process or socket in it.
pub struct Namespace(File);

impl Namespace {
    /// A namespace with nothing in it but the loopback interface.
    pub fn new() -> Self {
        let file = in_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let namespace = Self(file);
        namespace.ip("link set lo up");
        // A closed socket waits for an answer to its FIN, which tcp-bounce does not give. It must not keep the
        // namespace alive.
        namespace.sysctl("ipv4/tcp_orphan_retries", "1");
        namespace
    }

    /// Runs `action` in a thread of this namespace. The sockets that it makes belong to the namespace, wherever they
    /// are used.
    pub fn enter<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        in_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).expect("root may enter a network namespace");
            action()
        })
    }

    /// A command that runs in this namespace. The kernel kills it when the calling thread ends.
    pub fn command(&self, program: &str) -> Command {
        let file = self.0.try_clone().unwrap();
        let parent = process::id();
        let enter = move || {
            setns(&file, CloneFlags::CLONE_NEWNET)?;
            set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the kernel knew what to do about it.
            let is_orphan = getppid().as_raw() as u32 != parent;
            if is_orphan { Err(io::ErrorKind::NotConnected.into()) } else { Ok(()) }
        };
        let mut command = Command::new(program);
        // SAFETY: Between fork and exec it makes three system calls and nothing else; it takes no lock and no memory.
        unsafe { command.pre_exec(enter) };
        command.env("LC_ALL", "C");
        command
    }

    /// Runs `program` to its end, which must be a good one, and returns what it wrote to standard output.
    ///
    /// The arguments are separated by spaces.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &str) -> String {
        run(self.command(program).args(arguments.split_whitespace())).success()
    }

    /// Runs `ip`.
    #[track_caller]
    pub fn ip(&self, arguments: &str) -> String {
        self.run("ip", arguments)
    }

    /// Its TCP sockets in these states, as `ss` lists them.
    #[track_caller]
    pub fn sockets(&self, states: &str) -> String {
        self.run("ss", &format!("-H -n -t -i -o state {states}"))
    }

    /// Sets one of the variables under `/proc/sys/net`.
    pub fn sysctl(&self, name: &str, value: &str) {
        self.enter(|| fs::write(format!("/proc/sys/net/{name}"), value)).unwrap();
    }

    /// The path by which other processes find this namespace.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd())
    }
}

/// Runs `action` in a thread of its own: a test thread never changes its namespace.
fn in_thread<T: Send>(action: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(action).join()).unwrap_or_else(|panic| panic::resume_unwind(panic))
}
