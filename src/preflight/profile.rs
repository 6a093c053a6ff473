//! The finding about lines of a profile that are left out.

use super::finding::Finding;
use crate::config::Profile;

/// Returns a warning if lines of the profile are left out, because they cannot be expanded.
pub fn check(profile: Option<&Profile>) -> Option<Finding> {
    let (name, skipped) = profile.map(|profile| (profile.name(), profile.skipped_lines()))?;
    let lines = if skipped == 1 { "1 line".to_owned() } else { format!("{skipped} lines") };
    let message = || format!("{lines} of {name} cannot be expanded to a banner, and no port uses them");
    (skipped > 0).then(|| Finding::warning("lines_skipped", message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_lines_are_counted() {
        for (text, message) in [
            ("a\n", None),
            ("a\n(\n", Some("1 line of sigs cannot be expanded to a banner, and no port uses them")),
            ("(\na\n(\n", Some("2 lines of sigs cannot be expanded to a banner, and no port uses them")),
        ] {
            let profile = Profile::parse_signatures(text.as_bytes(), "sigs", &[0; 16]).unwrap();
            assert_eq!(check(Some(&profile)).map(|finding| finding.message), message.map(str::to_owned), "{text}");
        }
        assert!(check(None).is_none() && check(Profile::built_in("router").as_ref()).is_none());
    }
}
