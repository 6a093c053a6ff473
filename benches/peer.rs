//! Loads other XDP programs to compare with, from the object files in `PEER_OBJ` and `SYNPROXY_OBJ`.

use std::error::Error;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::{env, fs};

use libbpf_rs::{MapCore as _, MapFlags, Object, ObjectBuilder, Program, ProgramType};

/// The object files of the other programs. `None` excludes a program from the comparison.
pub struct Peers {
    /// The C program of the article that inspired tcp-bounce.
    pub article: Option<PathBuf>,
    /// `xdp_synproxy` of the kernel's selftests.
    pub synproxy: Option<PathBuf>,
}

impl Peers {
    /// Reads the paths from `PEER_OBJ` and `SYNPROXY_OBJ`, and checks that the programs load.
    pub fn from_environment() -> Result<Self, Box<dyn Error>> {
        let find = |variable| {
            let path = env::var_os(variable).map(PathBuf::from);
            let check = |path: PathBuf| match fs::metadata(&path) {
                Ok(_) => load(&path).map(|_| path),
                Err(error) => Err(format!("{variable}={}: {error}", path.display()).into()),
            };
            path.map(check).transpose()
        };
        Ok(Self { article: find("PEER_OBJ")?, synproxy: find("SYNPROXY_OBJ")? })
    }

    /// Returns the name and the path of each available program.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let peers = [("the article's program", &self.article), ("`xdp_synproxy`", &self.synproxy)];
        peers.into_iter().filter_map(|(name, path)| Some((name, path.as_deref()?)))
    }

    /// Loads all available programs, and returns them with their names.
    pub fn load(&self) -> Result<Vec<(&'static str, Object)>, Box<dyn Error>> {
        self.all().map(|(name, path)| Ok((name, load(path)?))).collect()
    }

    /// Loads the article's program, if it is available.
    pub fn load_article(&self) -> Result<Option<Object>, Box<dyn Error>> {
        self.article.as_deref().map(load).transpose()
    }
}

/// Loads the first XDP program of an object file.
///
/// Adds the ports of the benchmarks to the map `allowed_ports`, which the article's program has.
pub fn load(path: &Path) -> Result<Object, Box<dyn Error>> {
    let error = |error| format!("{}: {error:#}", path.display());
    let mut object = ObjectBuilder::default().open_file(path).map_err(error)?;
    let mut found = false;
    for mut program in object.progs_mut() {
        let is_first = !found && program.prog_type() == ProgramType::Xdp;
        program.set_autoload(is_first);
        found |= is_first;
    }
    if !found {
        return Err(format!("{}: no XDP program in this object", path.display()).into());
    }
    let object = object.load().map_err(error)?;
    if let Some(map) = object.maps().find(|map| map.name() == "allowed_ports") {
        for (index, port) in [80u16, 5000].into_iter().enumerate() {
            map.update(&(index as u32).to_ne_bytes(), &port.to_ne_bytes(), MapFlags::ANY)?;
        }
    }
    Ok(object)
}

/// Returns the descriptor of the program that [`load`] selected.
pub fn program(object: &Object) -> BorrowedFd<'_> {
    let program = object.progs().find(Program::autoload).expect("`load` selected a program");
    // SAFETY: The object keeps the descriptor open, and is borrowed for as long as the descriptor.
    unsafe { BorrowedFd::borrow_raw(program.as_fd().as_raw_fd()) }
}
