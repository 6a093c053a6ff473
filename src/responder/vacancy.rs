//! Searches for XDP programs of other processes that prevent attaching.

use super::ResponderError;
use crate::host::Interface;
use crate::xdp::AttachedProgram;

/// Checks that no XDP program is attached to `interface`. A program of another process is never replaced.
///
/// # Errors
///
/// [`ResponderError::Occupied`] if a program is attached, or the error of [`AttachedProgram::find`].
pub fn check_vacant(interface: &Interface) -> Result<(), ResponderError> {
    match AttachedProgram::find(interface)? {
        Some(program) => Err(ResponderError::Occupied { interface: interface.name.clone(), program }),
        None => Ok(()),
    }
}

/// Searches the upper devices of `interface` for a program, and returns the error to report.
///
/// The error is [`ResponderError::OccupiedAbove`] for the first program found, or else
/// [`ResponderError::OccupiedSomewhere`].
///
/// # Errors
///
/// The interfaces or their programs cannot be listed.
pub fn occupied_above(interface: &Interface) -> Result<ResponderError, ResponderError> {
    let name = interface.name.clone();
    let all = Interface::list()?;
    for above in interface.above(&all) {
        if let Some(program) = AttachedProgram::find(above)? {
            return Ok(ResponderError::OccupiedAbove { interface: name, above: above.name.clone(), program });
        }
    }
    Ok(ResponderError::OccupiedSomewhere { interface: name })
}
