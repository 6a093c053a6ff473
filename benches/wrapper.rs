//! A program behind `restore` of `src/bpf/bench.rs`, which writes the packet anew for each round: a repeated test run feeds a
//! program its own output.

use std::error::Error;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions};
use libbpf_rs::{MapCore as _, MapFlags, Object, Program, ProgramInput};
use nix::sched::{sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::fixtures::flood::{cpus, run_on};
use crate::fixtures::programs;
use crate::packets::TX;
use crate::report::{Report, median, rounded, row};

/// Turns of each program, of which the median counts.
const TURNS: usize = 31;
const ROUNDS: u32 = 1_000_000;

/// A program, and the packet that it gets.
pub struct Case<'a> {
    name: &'a str,
    wrapper: &'a Wrapper,
    program: BorrowedFd<'a>,
    /// The XDP action that it must take.
    action: u32,
    /// How many instructions the verifier left of it.
    instructions: usize,
    /// How many it went over.
    verified: u32,
    /// Nanoseconds per packet above the zero, turn by turn.
    costs: Vec<f64>,
}

impl<'a> Case<'a> {
    /// A case that has not been measured yet.
    pub fn new(
        name: &'a str,
        wrapper: &'a Wrapper,
        program: BorrowedFd<'a>,
        action: u32,
    ) -> Result<Self, Box<dyn Error>> {
        let (instructions, verified) = instructions(program)?;
        Ok(Self { name, wrapper, program, action, instructions, verified, costs: Vec::new() })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        self.name
    }

    /// Nanoseconds per packet above the zero.
    pub fn cost(&self) -> f64 {
        median(self.costs.iter().copied())
    }

    /// How many times the cost of another case it was, turn by turn.
    pub fn ratio(&self, other: &Self) -> f64 {
        median(self.costs.iter().zip(&other.costs).map(|(cost, other)| cost / other))
    }
}

/// Has the programs take turns, on one CPU.
pub fn measure(cases: &mut [Case]) -> Result<(), Box<dyn Error>> {
    let (this, all) = (Pid::from_raw(0), sched_getaffinity(Pid::from_raw(0))?);
    run_on(cpus()[0]);
    for _ in 0..TURNS {
        for case in &mut *cases {
            // Both at once, so that a machine that gets slower for a while does it to both.
            let zero = case.wrapper.measure(case.wrapper.program("transmit")?, TX)?;
            case.costs.push(case.wrapper.measure(case.program, case.action)? - zero);
        }
    }
    sched_setaffinity(this, &all)?;
    Ok(())
}

/// Reports what they cost, also as shares of what the case with the name `reference` costs, if there is one.
pub fn table(report: &mut Report, title: &str, cases: &[Case], reference: &str) {
    let reference_case = cases.iter().find(|case| case.name == reference);
    let rows = cases.iter().map(|case| {
        let ratio = reference_case.map_or("-".to_owned(), |other| rounded(case.ratio(other)));
        row(case.name, [rounded(case.cost()), ratio, case.instructions.to_string(), case.verified.to_string()])
    });
    report.table(&[title, "ns above zero", "of the article's", "instructions", "verified"], rows);
}

/// `restore`, with the packet that it writes.
pub struct Wrapper {
    object: Object,
    packet: Vec<u8>,
}

impl Wrapper {
    /// One that writes this packet.
    pub fn new(packet: &[u8]) -> Self {
        Self { object: programs::bench(packet), packet: packet.to_vec() }
    }

    /// A program of the same object.
    pub fn program(&self, name: &str) -> Result<BorrowedFd<'_>, Box<dyn Error>> {
        let program = self.object.progs().find(|program| program.name() == name);
        let program = program.ok_or_else(|| format!("no program {name}"))?;
        // SAFETY: The object keeps it open, and is borrowed.
        Ok(unsafe { BorrowedFd::borrow_raw(program.as_fd().as_raw_fd()) })
    }

    /// Nanoseconds per packet, those of the wrapper included.
    fn measure(&self, program: BorrowedFd, action: u32) -> Result<f64, Box<dyn Error>> {
        let key = 0u32.to_ne_bytes();
        self.map("NEXT")?.update(&key, &program.as_raw_fd().to_ne_bytes(), MapFlags::ANY)?;
        programs::set_clock(&self.object, ROUNDS);
        let restore = self.object.progs_mut().find(|program| program.name() == "restore").ok_or("no wrapper")?;
        let input = ProgramInput { data_in: Some(&self.packet), repeat: ROUNDS, ..Default::default() };
        let output = restore.test_run(input)?;
        if output.return_value != action {
            return Err(format!("a program gave the XDP action {}, not {action}", output.return_value).into());
        }

        Ok(programs::time(&self.object).as_secs_f64() * 1e9 / f64::from(ROUNDS - 1))
    }

    fn map(&self, name: &str) -> Result<libbpf_rs::Map<'_>, Box<dyn Error>> {
        let map = self.object.maps().find(|map| map.name().to_string_lossy().ends_with(name));
        map.ok_or_else(|| format!("no map {name}").into())
    }
}

/// How many instructions the verifier left of a program, and how many it went over.
fn instructions(program: BorrowedFd) -> Result<(usize, u32), Box<dyn Error>> {
    let id = Program::id_from_fd(program)?;
    let options = ProgInfoQueryOptions::default().include_xlated_prog_insns(true);
    let program = ProgInfoIter::with_query_opts(options).find(|program| program.id == id);
    let program = program.ok_or("the program is gone")?;
    Ok((program.xlated_prog_insns.len() / 8, program.verified_insns))
}
