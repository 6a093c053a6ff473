//! The findings about a profile: lines that are left out, long payloads, and ports with local listeners.

use super::finding::Finding;
use crate::config::{Config, PortList, Profile, ServiceConfig, ServicePorts};
use crate::responder::Exclusions;
use crate::responder::scope::join_first;

/// The length in bytes above which a payload may not fit into the frame of its request. In native mode on veth,
/// payloads up to this length were sent (`docs/reference/profiles.md`, "Room for the payload").
const ROOM: usize = 250;

/// Returns the warnings about the profile of `config`, whose only selected ports are those of the profile.
pub fn check(config: &Config, exclusions: &Exclusions) -> Vec<Finding> {
    let Some(profile) = &config.profile else { return Vec::new() };
    let taken = exclusions.leave_no_port().then(|| taken_ports(exclusions.listeners()));
    [skipped_lines(profile), long_payloads(profile), taken].into_iter().flatten().collect()
}

/// Returns a warning if lines of the profile are left out, because they cannot be expanded.
fn skipped_lines(profile: &Profile) -> Option<Finding> {
    let (name, skipped) = (profile.name(), profile.skipped_lines());
    let lines = if skipped == 1 { "1 line".to_owned() } else { format!("{skipped} lines") };
    let message = || format!("{lines} of {name} cannot be expanded to a banner, and no port uses them");
    (skipped > 0).then(|| Finding::warning("lines_skipped", message()))
}

/// Returns a warning if payloads may not fit into the frames of some drivers. The longest payloads come first.
fn long_payloads(profile: &Profile) -> Option<Finding> {
    let lengths = profile.services().iter().map(|service| (service.longest_payload(), service));
    let mut long: Vec<(usize, &ServiceConfig)> = lengths.filter(|&(length, _)| length > ROOM).collect();
    long.sort_by_key(|&(length, _)| std::cmp::Reverse(length));
    let long: Vec<String> =
        long.iter().map(|(length, service)| format!("{} ({length} bytes)", name(service))).collect();
    (!long.is_empty()).then(|| {
        Finding::warning("long_payloads", format!("payloads may be too long for the driver: {}", join_first(&long)))
            .with_hint(format!(
                "use at most {ROOM} bytes, or connect once and look for \"no room for the payload\" in the summary"
            ))
    })
}

/// Returns the name of a service, or else its first port.
fn name(service: &ServiceConfig) -> String {
    match (&service.name, &service.ports) {
        (Some(name), _) => name.escape_debug().to_string(),
        (None, ServicePorts::Others) => "the other ports".to_owned(),
        (None, ServicePorts::Pattern(pattern)) => match pattern.listed().0.first() {
            Some(port) => format!("port {port}"),
            None => pattern.to_string(),
        },
    }
}

/// Returns the warning that each port has a local listener. A listener on some addresses leaves the others free.
fn taken_ports(ports: &PortList) -> Finding {
    Finding::warning(
        "no_port_left",
        format!("the profile may have no effect: every selected port has a local listener ({ports})"),
    )
    .with_hint("stop a listener, or list other ports in the profile")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::PortSelection;

    /// Returns the code and the message of each finding, and the hints.
    fn findings(profile: Profile, listeners: &[u16], ports: &PortSelection) -> Vec<(&'static str, String)> {
        let mut config = Config { profile: Some(profile), ..Config::new(["eth0"]) };
        config.scope.ports = ports.clone();
        let exclusions = Exclusions::new(&config.scope, BTreeSet::from_iter(listeners.iter().copied()));
        check(&config, &exclusions).into_iter().map(|finding| (finding.code, finding.message)).collect()
    }

    fn messages(profile: Profile) -> Vec<(&'static str, String)> {
        findings(profile, &[], &PortSelection::default())
    }

    #[test]
    fn skipped_lines_are_counted() {
        for (text, message) in [
            ("a\n", None),
            ("a\n(\n", Some("1 line of sigs cannot be expanded to a banner, and no port uses them")),
            ("(\na\n(\n", Some("2 lines of sigs cannot be expanded to a banner, and no port uses them")),
        ] {
            let profile = Profile::parse_signatures(text.as_bytes(), "sigs", &[0; 16]).unwrap();
            let message = message.map(|message| ("lines_skipped", message.to_owned()));
            assert_eq!(messages(profile), Vec::from_iter(message), "{text}");
        }
    }

    #[test]
    fn built_in_profiles_have_no_finding() {
        for built_in in crate::config::BuiltIn::ALL {
            assert_eq!(messages(built_in.parse().unwrap()), [], "{}", built_in.name);
        }
        assert_eq!(check(&Config::new(["eth0"]), &Exclusions::default()), []);
    }

    #[test]
    fn payloads_of_more_than_250_bytes_are_listed() {
        let text = |length: usize| "x".repeat(length);
        let profile = |banner: usize, reply: usize| {
            let web = format!("name = \"web\"\nports = 80\nreplies = [{{ send = \"{}{{port}}\" }}]", text(reply - 5));
            let other = format!("ports = \"23,25\"\nbanner = \"{}\"", text(banner));
            Profile::parse(&format!("[[service]]\n{web}\n[[service]]\n{other}\n"), "test").unwrap()
        };
        let start = "payloads may be too long for the driver: ";
        for (banner, reply, list) in [
            (250, 250, None),
            (251, 250, Some("port 23 (251 bytes)")),
            (250, 251, Some("web (251 bytes)")),
            (300, 1208, Some("web (1208 bytes), port 23 (300 bytes)")),
        ] {
            let expected = list.map(|list| ("long_payloads", format!("{start}{list}")));
            assert_eq!(messages(profile(banner, reply)), Vec::from_iter(expected), "{banner} {reply}");
        }
    }

    #[test]
    fn profile_without_a_free_port_has_a_warning() {
        let selection = |only: &str, excluded: &str| {
            let list = |text: &str| if text.is_empty() { PortList::default() } else { text.parse().unwrap() };
            PortSelection::new(Some(list(only)), list(excluded)).unwrap()
        };
        for (listeners, only, excluded, is_warned) in [
            (&[22u16, 80][..], "22,80", "", true),
            (&[22, 80, 443], "22,80", "", true),
            (&[22], "22,80", "", false),
            (&[22], "22,80", "80", true),
            (&[], "22,80", "80", false),
        ] {
            let profile = Profile::built_in("linux-server").unwrap();
            let codes: Vec<_> =
                findings(profile, listeners, &selection(only, excluded)).into_iter().map(|it| it.0).collect();
            let expected: &[&str] = if is_warned { &["no_port_left"] } else { &[] };
            assert_eq!(codes, expected, "{listeners:?} {only} {excluded}");
        }
    }
}
