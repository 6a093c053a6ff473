//! Compiles the XDP program in `src/bpf` and generates its libbpf-rs skeleton. Both results are in `OUT_DIR`.
//!
//! | variable | meaning |
//! |---|---|
//! | `TCP_BOUNCE_BPF_OBJ` | a prebuilt object to use instead of compiling one |
//! | `TCP_BOUNCE_BPF_RUSTC` | the compiler for the BPF target, instead of the first suitable one |
//! | `TCP_BOUNCE_BPF_LINKER` | the bpf-linker, instead of the first suitable one |

#[path = "toolchain.rs"]
mod toolchain;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use libbpf_cargo::SkeletonBuilder;
use sha2::{Digest as _, Sha256};
use toolchain::Tool;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The directory with the sources of the XDP program.
const SOURCES: &str = "src/bpf";
/// The names of directories whose files are not sources of the XDP program.
const NOT_SOURCES: [&str; 2] = ["package", "tests"];

/// Makes both files, or reports the error to Cargo.
pub fn main() {
    if let Err(error) = build() {
        println!("cargo::error={error}");
    }
}

fn build() -> Result<()> {
    watch_inputs()?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let object = out_dir.join("tcp_bounce.bpf.o");
    let origin = make_object(&out_dir, &object)?;
    println!("cargo::rustc-env=TCP_BOUNCE_OBJECT=sha256 {:x}, {origin}", Sha256::digest(fs::read(&object)?));
    println!("cargo::rustc-env=TCP_BOUNCE_COMMIT={}", commit().map_or(String::new(), |commit| format!(" ({commit})")));
    let skeleton = SkeletonBuilder::new().obj(&object).generate(out_dir.join("tcp_bounce.skel.rs"));
    skeleton.map_err(|error| {
        format!(
            "libbpf cannot read the XDP program: {error:#} (a missing symbol usually means that the program can panic: \
             remove the panic)"
        )
    })?;
    Ok(())
}

/// Makes Cargo run this script again only if one of its inputs changes.
fn watch_inputs() -> Result<()> {
    for variable in ["OBJ", "RUSTC", "LINKER"] {
        println!("cargo::rerun-if-env-changed=TCP_BOUNCE_BPF_{variable}");
    }
    if let Some(finished) = env::var_os("TCP_BOUNCE_BPF_OBJ") {
        println!("cargo::rerun-if-changed={}", Path::new(&finished).display());
    }
    for script in ["build.rs", "scripts/object.rs", "scripts/toolchain.rs"] {
        println!("cargo::rerun-if-changed={script}");
    }
    watch_folder(Path::new(SOURCES))?;
    watch_folder(&wire()?)
}

/// Makes Cargo watch all files below a directory, except for those in [`NOT_SOURCES`].
///
/// Cargo gets the files one by one. If it got the directory, it would watch the exceptions, too.
fn watch_folder(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            println!("cargo::rerun-if-changed={}", path.display());
        } else if !NOT_SOURCES.iter().any(|name| path.ends_with(name)) {
            watch_folder(&path)?;
        }
    }
    Ok(())
}

/// Returns the directory of the packet logic, the package `tcp-bounce-wire`.
fn wire() -> Result<PathBuf> {
    Ok(env::var("DEP_TCP_BOUNCE_WIRE_FOLDER")?.into())
}

/// Writes the XDP program to `object` and returns a description of its origin, which `--version` prints.
fn make_object(out_dir: &Path, object: &Path) -> Result<String> {
    if let Some(finished) = env::var_os("TCP_BOUNCE_BPF_OBJ") {
        strip(Path::new(&finished), object)?;
        return Ok("prebuilt".to_owned());
    }
    let compiler = toolchain::compiler()?;
    let linker = toolchain::linker(&compiler)?;
    let compiled = compile(&shared_target_dir(out_dir)?, &compiler, &linker)?;
    strip(&compiled.join("tcp_bounce"), object)?;
    strip(&compiled.join("bench"), &out_dir.join("bench.bpf.o"))?;
    Ok(format!("built by {} and {}", version(&compiler)?, version(&linker)?))
}

/// Returns Cargo's target directory for the XDP program, outside `OUT_DIR`.
///
/// Clippy and changed features make Cargo run this script with another `OUT_DIR`. The program is unaffected by them, so
/// all runs share one build of it. Cargo locks the directory.
fn shared_target_dir(out_dir: &Path) -> Result<PathBuf> {
    // `OUT_DIR` is `build/tcp-bounce-HASH/out` in the directory of the profile.
    Ok(out_dir.ancestors().nth(3).ok_or("OUT_DIR is not in a target directory")?.join("bpf"))
}

/// Writes a manifest of the XDP program and its lock file to `folder`. Returns the path of the manifest.
///
/// The original is in `src/bpf/package`, which crates lack, because Cargo leaves out directories with a manifest. It
/// has relative paths, which do not fit a crate either. The lock file contains no paths.
fn write_manifest(folder: &Path) -> Result<PathBuf> {
    let sources = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join(SOURCES);
    let manifest = fs::read_to_string(sources.join("manifest.toml"))?
        .replace("\"../../wire\"", &format!("\"{}\"", wire()?.display()))
        .replace("\"../", &format!("\"{}/", sources.display()));
    fs::create_dir_all(folder)?;
    fs::copy(sources.join("manifest.lock"), folder.join("Cargo.lock"))?;
    let path = folder.join("Cargo.toml");
    fs::write(&path, manifest)?;
    Ok(path)
}

/// Compiles the XDP program in `target_dir` and returns the directory of its objects.
fn compile(target_dir: &Path, compiler: &Tool, linker: &Tool) -> Result<PathBuf> {
    let target = match env::var("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
        "big" => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    };
    let mut cargo = Command::new(env::var("CARGO")?);
    // Wrappers and flags for the host compiler must not affect the BPF target.
    for variable in ["CARGO_INCREMENTAL", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS"] {
        cargo.env_remove(variable);
    }
    cargo
        .args(["build", "--release", "--locked", "-Zbuild-std=core", "--target", target])
        .arg("--manifest-path")
        .arg(write_manifest(target_dir)?)
        .arg("--target-dir")
        .arg(target_dir)
        .env("RUSTC", &compiler.path)
        .env("CARGO_ENCODED_RUSTFLAGS", compiler_flags(compiler, linker)?.join("\x1f"))
        // Allows a stable compiler to build `core`.
        .env("RUSTC_BOOTSTRAP", "1");
    if !cargo.status()?.success() {
        println!("cargo::error=cannot compile the XDP program with {}: see the output below", compiler.path.display());
        // Cargo shows the compiler's messages only if the build script exits with an error.
        std::process::exit(1);
    }
    Ok(target_dir.join(target).join("release"))
}

fn compiler_flags(compiler: &Tool, linker: &Tool) -> Result<Vec<String>> {
    let mut flags = vec![format!("-Clinker={}", linker.path.display())];
    let fixed = [
        // The linker generates BTF from debug info. Without BTF, the kernel rejects functions besides the entry point.
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        // Enables 32-bit arithmetic and jumps. Needs Linux 5.1.
        "-Ctarget-cpu=v3",
        // Packet fields are rarely aligned. Without this flag, the compiler reads them byte by byte.
        "-Ctarget-feature=+allows-misaligned-mem-access",
    ];
    flags.extend(fixed.map(str::to_owned));
    // BTF keeps the paths in debug info. Absolute paths would make the object differ between machines.
    let paths = [
        (env::var("CARGO_MANIFEST_DIR")?.into(), "."),
        (home::cargo_home()?, "/cargo"),
        (sysroot(compiler)?, "/rust"),
        (wire()?, "./src/wire"),
    ];
    flags.extend(
        paths.iter().map(|(path, replacement)| format!("--remap-path-prefix={}={replacement}", path.display())),
    );
    Ok(flags)
}

/// Copies an object file without the sections that neither libbpf nor the kernel reads, such as debug info.
fn strip(from: &Path, to: &Path) -> Result<()> {
    fs::metadata(from)
        .map_err(|error| format!("cannot read the object of the XDP program, {}: {error}", from.display()))?;
    let link = || {
        let mut linker = libbpf_rs::Linker::new(to)?;
        linker.add_file(from)?;
        linker.link()
    };
    link().map_err(|error| format!("{} is not a BPF object that libbpf can read: {error:#}", from.display()).into())
}

/// Returns the root of the compiler's installation, which contains the source of `core`.
fn sysroot(compiler: &Tool) -> Result<PathBuf> {
    let output = Command::new(&compiler.path).args(["--print", "sysroot"]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

/// Returns the line that a tool prints for `--version`.
fn version(tool: &Tool) -> Result<String> {
    let output = Command::new(&tool.path).arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Returns the abbreviated hash of the current commit, with `+` if the tree has changes. `None` outside a clone.
///
/// The `+` may be missing, because this script does not run again after a change to the user space sources.
fn commit() -> Option<String> {
    // Without `safe.directory`, git rejects a clone that belongs to another user.
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(["-c", "safe.directory=*"]).args(arguments).output().ok()?;
        let text = output.status.success().then(|| String::from_utf8(output.stdout).ok())??;
        Some(text.trim().to_owned())
    };
    // Without this check, git would report the commit of another repository that contains a copy of the sources.
    fs::exists(".git").ok().filter(|&is_clone| is_clone)?;
    println!("cargo::rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    git(&["describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"])
}
