//! Generates the shell completions for bash, zsh and fish.
//!
//! clap generates a script for `tcp-bounce` and one for `tcp-bounce probe`. The subcommand is the first argument or
//! none at all, and interfaces may stand there too, so each script for a shell joins the two itself.

use std::error::Error;
use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::{Generator as _, Shell, generate};
use tcp_bounce::internals::{Args, ProbeArgs};

/// Placeholders for words that only the shell can look up.
const INTERFACES: &str = "INTERFACES";
const HOSTS: &str = "HOSTS";

/// The name of clap's script for the subcommand, and thus of its function.
const PROBE: &str = "tcp-bounce-probe";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Writes the completions to `folder`, in one file for each shell.
pub fn write(folder: &Path) -> Result<()> {
    let responder = Args::command()
        .mut_arg("interfaces", |arg| arg.value_parser([INTERFACES]).help(None))
        // A colon ends the name of a value in zsh, so `on_connect` and `metrics_listen` get names without colons.
        .mut_arg("on_connect", |arg| arg.value_name("ACTION"))
        .mut_arg("metrics_listen", |arg| arg.value_name("ADDRESS"));
    let probe = ProbeArgs::command().mut_arg("hosts", |arg| arg.value_parser([HOSTS]).help(None));
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let (responder, probe) = (responder.clone(), probe.clone());
        let script = match shell {
            Shell::Zsh => zsh(&script(shell, responder, "tcp-bounce")?, &script(shell, probe, PROBE)?),
            Shell::Fish => fish(&script(shell, responder, "tcp-bounce")?, &script(shell, probe, "tcp-bounce")?),
            _ => bash(&script(shell, responder, "tcp-bounce")?, &script(shell, probe, PROBE)?),
        };
        fs::write(folder.join(shell.file_name("tcp-bounce")), script?)?;
    }
    Ok(())
}

/// Returns clap's script for `command`.
fn script(shell: Shell, mut command: Command, name: &str) -> Result<String> {
    let mut script = Vec::new();
    generate(shell, &mut command, name, &mut script);
    Ok(String::from_utf8(script)?)
}

fn bash(responder: &str, probe: &str) -> Result<String> {
    // In `/sys/class/net`, only symbolic links are interfaces. `sed` drops names that bash would expand, and succeeds
    // even if there are no others.
    let interfaces = r"$(
        [ ${COMP_CWORD} != 1 ] || echo probe
        find /sys/class/net -type l -printf '%f\n' 2>/dev/null | sed -n '/^[[:alnum:]._-]*$/p'
    )";
    let hosts = r"$(compgen -A hostname | sed -n '/^[[:alnum:]._-]*$/p')";
    let responder = replace(responder, INTERFACES, interfaces)?;
    let probe = replace(probe, HOSTS, hosts)?;
    // Without the lines that register the function for a command of this name.
    let (probe, _) = split(&probe, "\nif [[ \"${BASH_VERSINFO[0]}\" -eq 4")?;
    let function = "_tcp__bounce() {\n";
    let dispatch = "    if [[ ${COMP_CWORD} -gt 1 && ${COMP_WORDS[1]} == probe ]]; then
        COMP_WORDS=(\"${COMP_WORDS[@]:1}\")
        COMP_CWORD=$((COMP_CWORD - 1))
        _tcp__bounce__probe probe \"$2\" \"$3\"
        return
    fi
";
    Ok(format!("{probe}\n{}", replace(&responder, function, &format!("{function}{dispatch}"))?))
}

fn zsh(responder: &str, probe: &str) -> Result<String> {
    // With two colons (`*::`), zsh would complete only interfaces and no options after the first argument.
    let interfaces = "'*:interface:{ _net_interfaces; (( CURRENT != 2 )) || compadd probe }'";
    let responder = replace(responder, "'*::interfaces:(INTERFACES)'", interfaces)?;
    let probe = replace(probe, "'*::hosts:(HOSTS)'", "'*:host:_hosts'")?;
    let function = format!("_{PROBE}() {{\n");
    let (_, probe) = split(&probe, &function)?;
    let (probe, _) = split(probe, "\n(( $+functions[")?;
    let dispatch = format!(
        "{function}{probe}
_tcp-bounce() {{
    if (( CURRENT > 2 )) && [[ $words[2] == probe ]]; then
        shift words
        (( CURRENT-- ))
        _{PROBE}
        return
    fi
"
    );
    replace(&responder, "_tcp-bounce() {\n", &dispatch)
}

fn fish(responder: &str, probe: &str) -> Result<String> {
    const COMPLETE: &str = "complete -c tcp-bounce ";
    let about = ProbeArgs::command().get_about().map(ToString::to_string).unwrap_or_default();
    // clap generates no lines for positional arguments.
    let responder = format!("{responder}{COMPLETE}-f -a '(__fish_print_interfaces)'\n")
        .replace(COMPLETE, "complete -c tcp-bounce -n 'not __tcp_bounce_probe' ");
    let probe = format!("{probe}{COMPLETE}-f -a '(__fish_print_hostnames)'\n")
        .replace(COMPLETE, "complete -c tcp-bounce -n __tcp_bounce_probe ");
    Ok(format!(
        "function __tcp_bounce_probe
    set -l words (commandline -opc)
    test \"$words[2]\" = probe
end

{COMPLETE}-n 'test (count (commandline -opc)) = 1' -f -a probe -d '{about}'
{responder}{probe}"
    ))
}

/// Replaces the only occurrence of `from`.
fn replace(script: &str, from: &str, to: &str) -> Result<String> {
    let (before, after) = split(script, from)?;
    Ok(format!("{before}{to}{after}"))
}

/// Returns the text before and after the only occurrence of `text`.
fn split<'a>(script: &'a str, text: &str) -> Result<(&'a str, &'a str)> {
    let parts = script.split_once(text).filter(|(_, after)| !after.contains(text));
    parts.ok_or_else(|| format!("clap generates something new: not exactly one {text:?} in {script}").into())
}
