//! Generates the shell completions for bash, zsh and fish.

use std::error::Error;
use std::fs;
use std::path::Path;

use clap::Command;
use clap_complete::{Shell, generate_to};

/// A placeholder for the names of interfaces, which only the shell can look up.
const INTERFACES: &str = "INTERFACES";

/// The shells, each with text that clap generates and its replacement, which completes the names of interfaces.
const SHELLS: [(Shell, &str, &str); 3] = [
    // In `/sys/class/net`, only symbolic links are interfaces. `grep` drops names that bash would expand.
    (Shell::Bash, INTERFACES, r"$(find /sys/class/net -type l -printf '%f\n' 2>/dev/null | grep -x '[[:alnum:]._-]*')"),
    // With two colons (`*::`), zsh would complete only interfaces and no options after the first argument.
    (Shell::Zsh, "'*::interfaces:(INTERFACES)'", "'*:interface:_net_interfaces'"),
    // clap generates no line for positional arguments, so one is added before the line of `--mode`.
    (
        Shell::Fish,
        "complete -c tcp-bounce -s m -l mode",
        "complete -c tcp-bounce -f -a '(__fish_print_interfaces)'\ncomplete -c tcp-bounce -s m -l mode",
    ),
];

/// Writes the completions of `command` to `folder`, in one file for each shell.
pub fn write(command: Command, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut command = command
        .mut_arg("interfaces", |arg| arg.value_parser([INTERFACES]).help(None))
        // A colon ends the name of a value in zsh, so `on_connect` and `metrics_listen` get names without colons.
        .mut_arg("on_connect", |arg| arg.value_name("ACTION"))
        .mut_arg("metrics_listen", |arg| arg.value_name("ADDRESS"));
    for (shell, placeholder, interfaces) in SHELLS {
        let path = generate_to(shell, &mut command, "tcp-bounce", folder)?;
        let script = fs::read_to_string(&path)?;
        if script.matches(placeholder).count() != 1 {
            return Err(
                format!("clap generates something new, so the interfaces have no place: {}", path.display()).into()
            );
        }
        fs::write(&path, script.replace(placeholder, interfaces))?;
    }
    Ok(())
}
