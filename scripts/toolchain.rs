//! Finds a Rust compiler and a linker for the BPF target.
//!
//! The compiler needs the source of `core`. The linker, bpf-linker, needs an LLVM that reads the compiler's bitcode.
//!
//! The build script includes this file as a module. `scripts/setup` compiles it into a separate program, which finds
//! out which tools are missing. Both run at the root of the repository.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{self, Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The first major version of LLVM with all code generation options that the build script uses. Rust 1.95 has it.
const OLDEST_LLVM: u32 = 22;

/// The advice in errors about missing tools in a clone. `main` removes it, because `scripts/setup` installs the tools.
const ADVICE: &str = ": run `make setup` to install missing tools";

/// The advice in errors about missing tools in a crate, which has no `make setup`.
const ADVICE_IN_CRATE: &str = ": install Rust 1.95 or newer with its component rust-src, and bpf-linker with the same \
                               LLVM, or set TCP_BOUNCE_BPF_OBJ to an object of the XDP program";

/// A compiler or linker, and the major version of its LLVM.
#[derive(Debug)]
pub struct Tool {
    pub path: PathBuf,
    pub llvm: u32,
}

/// Prints the LLVM version and the path of the tool that the argument names, `compiler` or `linker`.
#[allow(dead_code, reason = "the build script has its own main function")]
fn main() {
    let compiler = compiler();
    let tool = match env::args().nth(1).as_deref() {
        Some("linker") => compiler.and_then(|compiler| linker(&compiler)),
        _ => compiler,
    };
    match tool {
        Ok(tool) => println!("{} {}", tool.llvm, tool.path.display()),
        Err(error) => {
            eprintln!("{}", error.replace(ADVICE, ""));
            std::process::exit(1);
        }
    }
}

/// Finds the compiler: `TCP_BOUNCE_BPF_RUSTC` if it is set, else the first suitable compiler of the active toolchain,
/// the other rustup toolchains, and the distribution (`/usr/bin/rustc`).
///
/// A suitable compiler has the source of `core` and at least [`OLDEST_LLVM`]. Rust ships no compiled `core` for the BPF
/// targets, which are tier 3, so the build compiles it.
pub fn compiler() -> Result<Tool, String> {
    let candidates = match env::var_os("TCP_BOUNCE_BPF_RUSTC") {
        Some(rustc) => vec![rustc],
        None => installed_compilers(),
    };
    first_suitable(candidates, check_compiler)
        .map_err(|reasons| format!("no Rust compiler can build for BPF{} ({reasons})", advice()))
}

/// Finds the linker: `TCP_BOUNCE_BPF_LINKER` if it is set, else the bpf-linker that `make setup` built, else the
/// bpf-linker on the PATH.
///
/// A suitable linker has an LLVM that is at least as new as the compiler's.
pub fn linker(compiler: &Tool) -> Result<Tool, String> {
    // The path is absolute, because Cargo runs the compiler in another directory.
    let built = path::absolute(".tools/bin/bpf-linker").map_err(|error| error.to_string())?;
    let candidates = match env::var_os("TCP_BOUNCE_BPF_LINKER") {
        Some(linker) => vec![linker],
        None => vec![built.into(), "bpf-linker".into()],
    };
    first_suitable(candidates, |linker| check_linker(linker, compiler)).map_err(|reasons| {
        format!("no bpf-linker can link the output of {}{} ({reasons})", compiler.path.display(), advice())
    })
}

fn advice() -> &'static str {
    if Path::new("Makefile").exists() { ADVICE } else { ADVICE_IN_CRATE }
}

/// Returns the first candidate that passes `check`, or an error with the reason against each candidate.
fn first_suitable(
    candidates: Vec<OsString>,
    check: impl Fn(&OsString) -> Result<Tool, String>,
) -> Result<Tool, String> {
    let mut reasons = Vec::new();
    for candidate in candidates {
        match check(&candidate) {
            Ok(tool) => return Ok(tool),
            Err(reason) => reasons.push(format!("{} {reason}", Path::new(&candidate).display())),
        }
    }
    Err(reasons.join("; "))
}

fn installed_compilers() -> Vec<OsString> {
    let active = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let rustup_home = env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let rustup_home = rustup_home.or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".rustup")));
    let toolchains = rustup_home.and_then(|home| fs::read_dir(home.join("toolchains")).ok());
    let mut others: Vec<OsString> =
        toolchains.into_iter().flatten().flatten().map(|entry| entry.path().join("bin/rustc").into()).collect();
    others.retain(|rustc| *rustc != active);
    others.sort();
    [active].into_iter().chain(others).chain(["/usr/bin/rustc".into()]).collect()
}

fn check_compiler(rustc: &OsString) -> Result<Tool, String> {
    let sysroot = PathBuf::from(run(Command::new(rustc).args(["--print", "sysroot"]))?.trim());
    if !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
        return Err("lacks the source of `core`, the rustup component rust-src".into());
    }
    let version = run(Command::new(rustc).arg("-vV"))?;
    let llvm = llvm_version(&version).ok_or("prints no LLVM version")?;
    if llvm < OLDEST_LLVM {
        return Err(format!("has LLVM {llvm}, older than {OLDEST_LLVM} of Rust 1.95"));
    }
    Ok(Tool { path: rustc.into(), llvm })
}

fn check_linker(linker: &OsString, compiler: &Tool) -> Result<Tool, String> {
    // `--version` prints only the version of bpf-linker. These arguments print the version of its LLVM without linking.
    let arguments = ["--target=bpf", "--llvm-args=--version", "--output=/dev/null", "/dev/null"];
    let version = run(Command::new(linker).args(arguments))?;
    let llvm = llvm_version(&version).ok_or("prints no LLVM version")?;
    if llvm < compiler.llvm {
        return Err(format!("has LLVM {llvm}, older than the compiler's {}", compiler.llvm));
    }
    Ok(Tool { path: linker.into(), llvm })
}

/// Parses the major version in a line like `LLVM version: 22.1.2` or `Debian LLVM version 22.1.8`.
fn llvm_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("LLVM version")?;
    version.trim_start_matches([':', ' ']).split('.').next()?.parse().ok()
}

/// Runs a command and returns its standard output. Errors are predicates, to be printed after the command's name.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => "is missing".to_string(),
        _ => format!("does not run: {error}"),
    })?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("fails: {}", stderr.lines().next().unwrap_or("without an error message")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
