//! Compiles the XDP program in `src/bpf`, Rust only, and generates its libbpf-rs skeleton. Everything it makes is
//! in `OUT_DIR`.
//!
//! | variable | meaning |
//! |---|---|
//! | `TCP_BOUNCE_BPF_OBJ` | a finished object, instead of compiling one |
//! | `TCP_BOUNCE_BPF_RUSTC` | the compiler for the BPF target, instead of the first that can do it |
//! | `TCP_BOUNCE_BPF_LINKER` | the bpf-linker to link with, instead of the first that can do it |

#[path = "build/toolchain.rs"]
mod toolchain;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use libbpf_cargo::SkeletonBuilder;
use sha2::{Digest as _, Sha256};
use toolchain::Tool;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() {
    if let Err(error) = build() {
        println!("cargo::error={error}");
    }
}

fn build() -> Result<()> {
    watch()?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let object = out_dir.join("tcp_bounce.bpf.o");
    let origin = match env::var_os("TCP_BOUNCE_BPF_OBJ") {
        Some(finished) => {
            strip(Path::new(&finished), &object)?;
            "given to the build".to_owned()
        }
        None => {
            let compiler = toolchain::compiler()?;
            let linker = toolchain::linker(&compiler)?;
            let compiled = compile(&out_dir, &compiler, &linker)?;
            strip(&compiled.join("tcp_bounce"), &object)?;
            strip(&compiled.join("bench"), &out_dir.join("bench.bpf.o"))?;
            format!("by {} and {}", version(&compiler)?, version(&linker)?)
        }
    };
    println!("cargo::rustc-env=TCP_BOUNCE_OBJECT=sha256 {:x}, {origin}", Sha256::digest(fs::read(&object)?));
    println!("cargo::rustc-env=TCP_BOUNCE_COMMIT={}", commit().map_or(String::new(), |commit| format!(" ({commit})")));
    let skeleton = SkeletonBuilder::new().obj(&object).generate(out_dir.join("tcp_bounce.skel.rs"));
    skeleton.map_err(|error| {
        format!(
            "libbpf does not take the XDP program: {error:#} (a panic that the compiler does not remove leaves a call to \
             a symbol that is nowhere)"
        )
    })?;
    Ok(())
}

/// Where a compiler has the source of `core`.
fn sysroot(compiler: &Tool) -> Result<PathBuf> {
    let output = Command::new(&compiler.path).args(["--print", "sysroot"]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

/// What a tool says that it is.
fn version(tool: &Tool) -> Result<String> {
    let output = Command::new(&tool.path).arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The commit that this is built of, if it is one, with `+` if something has been changed since. Where a change does not lead here,
/// as in `src`, the `+` may be missing.
fn commit() -> Option<String> {
    // Also a clone that belongs to somebody else.
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(["-c", "safe.directory=*"]).args(arguments).output().ok()?;
        let text = output.status.success().then(|| String::from_utf8(output.stdout).ok())??;
        Some(text.trim().to_owned())
    };
    // Not one that this was copied into.
    fs::exists(".git").ok().filter(|&is_clone| is_clone)?;
    println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    git(&["describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"])
}

/// Compiles the package `src/bpf` and returns the folder of its objects.
fn compile(out_dir: &Path, compiler: &Tool, linker: &Tool) -> Result<PathBuf> {
    let target = match env::var("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
        "big" => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    };
    let linker_flag = format!("-Clinker={}", linker.path.display());
    let flags = [
        linker_flag.as_str(),
        // Without debug info there is no BTF, and without BTF the kernel takes no function but the entry point.
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        // 32-bit arithmetic and jumps: kernel 5.1.
        "-Ctarget-cpu=v3",
        // Packet fields are rarely aligned; without this each is read byte by byte.
        "-Ctarget-feature=+allows-misaligned-mem-access",
    ]
    .map(str::to_owned);
    // The debug info, which the object keeps as BTF, has paths: those of one machine would make it another object on the next.
    let cargo_home = home::cargo_home()?;
    let paths = [(env::var("CARGO_MANIFEST_DIR")?.into(), "."), (cargo_home, "/cargo"), (sysroot(compiler)?, "/rust")];
    let remaps = paths.iter().map(|(path, instead)| format!("--remap-path-prefix={}={instead}", path.display()));
    let flags: Vec<String> = flags.into_iter().chain(remaps).collect();

    let target_dir = out_dir.join("bpf");
    let mut cargo = Command::new(env::var("CARGO")?);
    // What is meant for the host must not reach the BPF target.
    for variable in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS"] {
        cargo.env_remove(variable);
    }
    let status = cargo
        .args(["build", "--release", "--locked", "-Zbuild-std=core", "--target", target])
        .args(["--manifest-path", "src/bpf/Cargo.toml", "--target-dir"])
        .arg(&target_dir)
        .env("RUSTC", &compiler.path)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // Lets a stable compiler build `core`.
        .env("RUSTC_BOOTSTRAP", "1")
        .status()?;
    if !status.success() {
        println!("cargo::error=the XDP program does not compile with {}", compiler.path.display());
        // Cargo shows what the compiler said only if this ends so.
        std::process::exit(1);
    }
    Ok(target_dir.join(target).join("release"))
}

/// Copies the object `from` to `to` without what neither libbpf nor the kernel reads, debug info above all.
fn strip(from: &Path, to: &Path) -> Result<()> {
    fs::metadata(from).map_err(|error| format!("{}: {error}", from.display()))?;
    let link = || {
        let mut linker = libbpf_rs::Linker::new(to)?;
        linker.add_file(from)?;
        linker.link()
    };
    link().map_err(|error| format!("{} is no BPF object that libbpf can read: {error:#}", from.display()).into())
}

/// Names all that the result depends on, so that nothing else makes Cargo do this again.
fn watch() -> Result<()> {
    for variable in ["OBJ", "RUSTC", "LINKER"] {
        println!("cargo::rerun-if-env-changed=TCP_BOUNCE_BPF_{variable}");
    }
    if let Some(finished) = env::var_os("TCP_BOUNCE_BPF_OBJ") {
        println!("cargo::rerun-if-changed={}", Path::new(&finished).display());
    }
    for folder in ["build", "src/bpf", "src/wire"] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_file() {
                println!("cargo::rerun-if-changed={}", path.display());
            }
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}
