//! Finds what turns Rust into BPF: a compiler that has the source of `core`, and a linker that can read its
//! bitcode.
//!
//! A module of the build script. Compiled on its own (`rustc build/toolchain.rs`) it is a program that prints what
//! it found, which is how `make setup` learns what is missing. Both run in the folder of `Cargo.toml`.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{self, Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The LLVM that knows all the code generation options that the build script asks for; Rust 1.95 has it.
const OLDEST_LLVM: u32 = 22;

/// What to do about anything that is missing.
const MEND: &str = ": run `make setup`, which installs what is missing";

/// A program together with the version of its LLVM.
#[derive(Debug)]
pub struct Tool {
    pub path: PathBuf,
    pub llvm: u32,
}

/// Prints the version of the LLVM and the path of the `compiler` or of the `linker`, whichever is asked for.
#[allow(dead_code, reason = "the build script has its own")]
fn main() {
    let compiler = compiler();
    let tool = match env::args().nth(1).as_deref() {
        Some("linker") => compiler.and_then(|compiler| linker(&compiler)),
        _ => compiler,
    };
    match tool {
        Ok(tool) => println!("{} {}", tool.llvm, tool.path.display()),
        Err(error) => {
            eprintln!("{}", error.replace(MEND, ""));
            std::process::exit(1);
        }
    }
}

/// The compiler for the BPF target: `TCP_BOUNCE_BPF_RUSTC` if it is set; else the first that has the source of
/// `core`, of the active toolchain, the other rustup toolchains, and the distribution's.
///
/// No compiled `core` exists for the BPF targets (they are of tier 3), so it is built along.
pub fn compiler() -> Result<Tool, String> {
    let candidates = match env::var_os("TCP_BOUNCE_BPF_RUSTC") {
        Some(rustc) => vec![rustc],
        None => compilers(),
    };
    first(candidates, check_compiler)
        .map_err(|reasons| format!("found no Rust compiler that can build for BPF{MEND} ({reasons})"))
}

/// The linker for the BPF target: `TCP_BOUNCE_BPF_LINKER` if it is set; else the first whose LLVM is not older than
/// the compiler's, of the one that `make setup` built, and the one on the PATH.
pub fn linker(compiler: &Tool) -> Result<Tool, String> {
    // Absolute, because Cargo runs the compiler elsewhere.
    let built = path::absolute(".tools/bin/bpf-linker").map_err(|error| error.to_string())?;
    let candidates = match env::var_os("TCP_BOUNCE_BPF_LINKER") {
        Some(linker) => vec![linker],
        None => vec![built.into(), "bpf-linker".into()],
    };
    first(candidates, |linker| check_linker(linker, compiler)).map_err(|reasons| {
        format!("found no bpf-linker that can link what {} makes{MEND} ({reasons})", compiler.path.display())
    })
}

/// The first that passes the check, or why each of them does not.
fn first(candidates: Vec<OsString>, check: impl Fn(&OsString) -> Result<Tool, String>) -> Result<Tool, String> {
    let mut reasons = Vec::new();
    for candidate in candidates {
        match check(&candidate) {
            Ok(tool) => return Ok(tool),
            Err(reason) => reasons.push(format!("{} {reason}", Path::new(&candidate).display())),
        }
    }
    Err(reasons.join("; "))
}

fn compilers() -> Vec<OsString> {
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
    let sysroot = PathBuf::from(output(Command::new(rustc).args(["--print", "sysroot"]))?.trim());
    if !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
        return Err("has no source of `core` (rustup component rust-src)".into());
    }
    let version = output(Command::new(rustc).arg("-vV"))?;
    let llvm = llvm_version(&version).ok_or("does not name its LLVM")?;
    if llvm < OLDEST_LLVM {
        return Err(format!("has LLVM {llvm}, but {OLDEST_LLVM} is needed (Rust 1.95)"));
    }
    Ok(Tool { path: rustc.into(), llvm })
}

fn check_linker(linker: &OsString, compiler: &Tool) -> Result<Tool, String> {
    // `--version` would tell its own; this has its LLVM print one, and do nothing else.
    let target = ["--target=bpf", "--llvm-args=--version", "--output=/dev/null", "/dev/null"];
    let version = output(Command::new(linker).args(target))?;
    let llvm = llvm_version(&version).ok_or("does not name its LLVM")?;
    if llvm < compiler.llvm {
        return Err(format!("has LLVM {llvm}, older than the compiler's {}", compiler.llvm));
    }
    Ok(Tool { path: linker.into(), llvm })
}

/// The major version in a line like `LLVM version: 22.1.2` or `Debian LLVM version 22.1.8`.
fn llvm_version(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("LLVM version")?;
    version.trim_start_matches([':', ' ']).split('.').next()?.parse().ok()
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => "is not there".to_string(),
        _ => format!("does not run: {error}"),
    })?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("fails: {}", stderr.lines().next().unwrap_or("it does not say why")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
