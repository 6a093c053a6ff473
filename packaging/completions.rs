//! The completions of the shells.

use std::error::Error;
use std::fs;
use std::path::Path;

use clap::Command;
use clap_complete::{Shell, generate_to};
use tcp_bounce::internals::action_names;

/// Stands for the interfaces, which clap cannot name.
const INTERFACES: &str = "INTERFACES";

/// The shells, what clap writes for the interfaces there, and what takes its place.
const SHELLS: [(Shell, &str, &str); 3] = [
    // Links alone are interfaces, and a name with a dollar sign would be expanded.
    (Shell::Bash, INTERFACES, r"$(find /sys/class/net -type l -printf '%f\n' 2>/dev/null | grep -x '[[:alnum:]._-]*')"),
    // With two colons, nothing but interfaces would be completed behind the first.
    (Shell::Zsh, "'*::interfaces:(INTERFACES)'", "'*:interface:_net_interfaces'"),
    // clap writes nothing for what is no option.
    (
        Shell::Fish,
        "complete -c tcp-bounce -l mode",
        "complete -c tcp-bounce -f -a '(__fish_print_interfaces)'\ncomplete -c tcp-bounce -l mode",
    ),
];

/// Writes those of `command` into `folder`.
pub fn write(command: Command, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut command = command
        .mut_arg("interfaces", |arg| arg.value_parser([INTERFACES]).help(None))
        // A colon in the name of a value would end it, in zsh.
        .mut_arg("then", |arg| arg.value_parser(action_names()).value_name("MODE"))
        .mut_arg("metrics", |arg| arg.value_name("ADDRESS"));
    for (shell, placeholder, interfaces) in SHELLS {
        let path = generate_to(shell, &mut command, "tcp-bounce", folder)?;
        let script = fs::read_to_string(&path)?;
        if script.matches(placeholder).count() != 1 {
            return Err(format!("not what clap used to write: {}", path.display()).into());
        }
        fs::write(&path, script.replace(placeholder, interfaces))?;
    }
    Ok(())
}
