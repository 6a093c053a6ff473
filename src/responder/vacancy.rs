//! Programs of others that keep the program from being attached.

use super::ResponderError;
use crate::host::Interface;
use crate::xdp::AttachedProgram;

/// Checks that no XDP program is attached to `interface`, since one of another process is never replaced.
///
/// # Errors
///
/// [`ResponderError::Occupied`] if there is one.
pub fn check_vacant(interface: &Interface) -> Result<(), ResponderError> {
    match AttachedProgram::find(interface)? {
        Some(program) => Err(ResponderError::Occupied { interface: interface.name.clone(), program }),
        None => Ok(()),
    }
}

/// Finds the upper device with a program, and returns the error that names it.
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
