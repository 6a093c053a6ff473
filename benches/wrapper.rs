//! Measures programs behind a wrapper, the program `restore` of `src/bpf/bench.rs`.
//!
//! The wrapper writes the packet again before each round. Otherwise a repeated test run would feed a program its own
//! output.

use std::error::Error;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions};
use libbpf_rs::{MapCore as _, MapFlags, Object, Program, ProgramInput};
use nix::sched::{sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::fixtures::flood::{cpus, run_on};
use crate::fixtures::programs;
use crate::packets::TX;
use crate::report::{Report, median, rounded, row};

/// The number of turns. Each turn measures each program once, and the result is the median of all turns.
const TURNS: usize = 31;
/// The number of packets to each program in a turn.
const ROUNDS: u32 = 1_000_000;

/// A program with the packet that it receives, and the results.
pub struct Case {
    name: &'static str,
    wrapper: Wrapper,
    program: OwnedFd,
    /// The XDP action that the program must return.
    action: u32,
    /// The number of instructions that the verifier left in the program.
    instructions: usize,
    /// The number of instructions that the verifier processed.
    verified: u32,
    /// The target: the highest cost above the baseline, in nanoseconds per packet.
    limit: Option<f64>,
    costs: Costs,
}

impl Case {
    /// Creates a case without results and without a target. `action` is the XDP action that the program must return.
    pub fn new(name: &'static str, packet: &[u8], program: BorrowedFd, action: u32) -> Result<Self, Box<dyn Error>> {
        let (instructions, verified) = instructions(program)?;
        let (wrapper, program) = (Wrapper::new(packet), program.try_clone_to_owned()?);
        Ok(Self { name, wrapper, program, action, instructions, verified, limit: None, costs: Costs::default() })
    }

    /// Returns this case with a target: the highest cost above the baseline, in nanoseconds per packet.
    pub fn at_most(self, limit: f64) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Returns the name of the case.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the number of instructions that the verifier processed.
    pub fn verified(&self) -> u32 {
        self.verified
    }

    /// Returns the results.
    pub fn costs(&self) -> &Costs {
        &self.costs
    }

    /// Runs the program with `packets` packets on one CPU, a million packets a second (the program `pace` of
    /// `src/bpf/bench.rs`). Returns the rate that the CPU reached, in millions of packets per second.
    ///
    /// # Errors
    ///
    /// The program cannot be run, or does not return the expected XDP action.
    pub fn pace(&self, packets: u32) -> Result<f64, Box<dyn Error>> {
        on_cpu(cpus()[0], || Ok(1e3 / self.wrapper.run("pace", self.program.as_fd(), self.action, packets)?))
    }
}

/// The cost above the baseline in each turn, in nanoseconds per packet.
///
/// The baseline is the cost of the wrapper and of a program that only returns `XDP_TX`.
#[derive(Default)]
pub struct Costs(Vec<f64>);

impl Costs {
    /// Returns the median cost.
    pub fn median(&self) -> f64 {
        median(self.0.iter().copied())
    }

    /// Returns the median ratio of a cost to the cost in `other` in the same turn.
    pub fn ratio(&self, other: &Self) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(cost, other)| cost / other))
    }

    /// Returns the median difference of a cost from the cost in `other` in the same turn.
    pub fn above(&self, other: &Self) -> f64 {
        median(self.0.iter().zip(&other.0).map(|(cost, other)| cost - other))
    }

    /// Returns the sum of both costs in each turn.
    pub fn plus(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(cost, other)| cost + other).collect())
    }
}

/// Measures all programs on one CPU, once in each turn, and adds the costs to the cases.
pub fn measure(cases: &mut [Case]) -> Result<(), Box<dyn Error>> {
    on_cpu(cpus()[0], || {
        for _ in 0..TURNS {
            for Case { wrapper, program, action, costs, .. } in &mut *cases {
                // The baseline is measured right before the program, so that a temporary slowdown affects both.
                let zero = wrapper.run("restore", wrapper.program("transmit")?, TX, ROUNDS)?;
                costs.0.push(wrapper.run("restore", program.as_fd(), *action, ROUNDS)? - zero);
            }
        }
        Ok(())
    })
}

/// Restricts the calling thread, and the threads that it starts, to one CPU during `work`.
pub fn on_cpu<T>(cpu: usize, work: impl FnOnce() -> Result<T, Box<dyn Error>>) -> Result<T, Box<dyn Error>> {
    let (this, all) = (Pid::from_raw(0), sched_getaffinity(Pid::from_raw(0))?);
    run_on(cpu);
    let result = work();
    sched_setaffinity(this, &all)?;
    result
}

/// Reports the costs, the ratio of each cost to the cost of the case named `reference`, if there is one, and the
/// targets.
pub fn table(report: &mut Report, title: &str, cases: &[Case], reference: &str) {
    let reference = cases.iter().find(|case| case.name == reference);
    let rows = cases.iter().map(|case| {
        let ratio = reference.map_or("-".to_owned(), |other| rounded(case.costs.ratio(&other.costs)));
        row(case.name, [rounded(case.costs.median()), ratio, case.instructions.to_string(), case.verified.to_string()])
    });
    report.table(&[title, "ns above zero", "of the article's", "instructions", "verified"], rows);
    for case in cases {
        if let Some(limit) = case.limit {
            report.at_most(&format!("{title}: {}", case.name), limit, " ns", case.costs.median());
        }
    }
}

/// The loaded programs `restore` and `pace`, and the packet that they write.
pub struct Wrapper {
    object: Object,
    packet: Vec<u8>,
}

impl Wrapper {
    /// Loads a wrapper that writes the given packet.
    pub fn new(packet: &[u8]) -> Self {
        Self { object: programs::bench(packet), packet: packet.to_vec() }
    }

    /// Returns the descriptor of another program in the wrapper's object.
    pub fn program(&self, name: &str) -> Result<BorrowedFd<'_>, Box<dyn Error>> {
        let program = self.object.progs().find(|program| program.name() == name);
        let program = program.ok_or_else(|| format!("no program named {name}"))?;
        // SAFETY: The object keeps the descriptor open, and is borrowed for as long as the descriptor.
        Ok(unsafe { BorrowedFd::borrow_raw(program.as_fd().as_raw_fd()) })
    }

    /// Runs a program with `rounds` packets, behind the wrapper `name`: `restore` or `pace`. Returns the cost of the
    /// wrapper and of the program, in nanoseconds per packet.
    ///
    /// # Errors
    ///
    /// The programs cannot be run, or the XDP action is not `action`.
    fn run(&self, name: &str, program: BorrowedFd, action: u32, rounds: u32) -> Result<f64, Box<dyn Error>> {
        let key = 0u32.to_ne_bytes();
        self.map("NEXT")?.update(&key, &program.as_raw_fd().to_ne_bytes(), MapFlags::ANY)?;
        programs::set_clock(&self.object, rounds);
        let wrapper = self.object.progs_mut().find(|program| program.name() == name).ok_or("no wrapper")?;
        let input = ProgramInput { data_in: Some(&self.packet), repeat: rounds, ..Default::default() };
        let output = wrapper.test_run(input)?;
        if output.return_value != action {
            return Err(format!("a program returned the XDP action {}, not {action}", output.return_value).into());
        }
        Ok(programs::time(&self.object).as_secs_f64() * 1e9 / f64::from(rounds - 1))
    }

    fn map(&self, name: &str) -> Result<libbpf_rs::Map<'_>, Box<dyn Error>> {
        let map = self.object.maps().find(|map| map.name().to_string_lossy().ends_with(name));
        map.ok_or_else(|| format!("no map named {name}").into())
    }
}

/// Returns the number of instructions that the verifier left in a program, and the number that it processed.
fn instructions(program: BorrowedFd) -> Result<(usize, u32), Box<dyn Error>> {
    let id = Program::id_from_fd(program)?;
    let options = ProgInfoQueryOptions::default().include_xlated_prog_insns(true);
    let program = ProgInfoIter::with_query_opts(options).find(|program| program.id == id);
    let program = program.ok_or("the kernel does not list the program")?;
    Ok((program.xlated_prog_insns.len() / 8, program.verified_insns))
}
