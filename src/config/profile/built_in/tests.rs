//! Tests of the built-in profiles: each one parses, and its messages are well formed.

use std::collections::BTreeSet;

use super::*;
use crate::config::{ProfileFormat, ServiceConfig};

/// Returns each built-in profile with its name.
fn profiles() -> Vec<(&'static str, Profile)> {
    let parse = |built_in: &BuiltIn| built_in.parse().unwrap_or_else(|error| panic!("{}: {error}", built_in.name));
    BuiltIn::ALL.iter().map(|built_in| (built_in.name, parse(built_in))).collect()
}

/// Returns each payload of `service`, as text in which each character is a byte.
fn payloads(service: &ServiceConfig) -> Vec<String> {
    let replies = service.replies.iter().map(|reply| &reply.payload);
    [&service.banner].into_iter().chain(replies).map(|it| it.text().into_iter().map(char::from).collect()).collect()
}

#[test]
fn each_profile_can_be_loaded_by_its_name() {
    let names: BTreeSet<&str> = BuiltIn::ALL.iter().map(|profile| profile.name).collect();
    assert_eq!(names.len(), BuiltIn::ALL.len());
    for (name, profile) in profiles() {
        assert_eq!(profile.name(), name);
        assert_eq!(Profile::built_in(name), Some(profile.clone()));
        assert_eq!(Profile::load(name, ProfileFormat::Toml, &[0; 16]).unwrap(), profile);
    }
    assert_eq!(Profile::built_in("nosuch"), None);
}

#[test]
fn each_profile_and_service_is_described() {
    for built_in in BuiltIn::ALL {
        let description = built_in.description();
        assert!((10..=80).contains(&description.len()), "{} {description}", built_in.name);
        assert!(built_in.text.lines().all(|line| line.chars().count() <= 120), "{}", built_in.name);
    }
    for (name, profile) in profiles() {
        let names: BTreeSet<Option<&str>> = profile.services().iter().map(|service| service.name.as_deref()).collect();
        assert_eq!(names.len(), profile.services().len(), "{name}: {names:?}");
        assert!(!names.contains(&None), "{name}");
    }
}

/// Scanners drop hosts with more than ten open ports. Only `all-ports` has a service on each port.
#[test]
fn profiles_have_few_ports_or_all() {
    for (name, profile) in profiles() {
        let ports = profile.ports(&[7; 16]);
        if name == "all-ports" {
            assert_eq!(ports.len(), 65536);
            let used: BTreeSet<usize> = ports.values().copied().collect();
            assert_eq!(used.len(), profile.services().len());
        } else {
            assert!((3..=10).contains(&ports.len()), "{name}: {ports:?}");
        }
    }
}

#[test]
fn http_responses_have_the_length_that_they_announce() {
    let mut count = 0;
    for (name, profile) in profiles() {
        for (service, payload) in profile.services().iter().flat_map(|s| payloads(s).into_iter().map(move |p| (s, p))) {
            let Some((head, body)) = payload.strip_prefix("HTTP/1.").and_then(|rest| rest.split_once("\r\n\r\n"))
            else {
                continue;
            };
            let header =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            // The response to HEAD has no body.
            assert!(body.is_empty() || header.is_none_or(|length: usize| length == body.len()), "{name} {service:?}");
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

/// Most drivers have room for 200 bytes more than the request, at the start of the frame. Those with less have room at
/// its end.
#[test]
fn payloads_fit_into_the_frames_of_most_drivers() {
    for (name, profile) in profiles() {
        for service in profile.services() {
            assert!(service.banner.longest() <= 200, "{name} {:?}: {}", service.name, service.banner.longest());
            for reply in &service.replies {
                assert!(reply.payload.longest() <= 250, "{name} {:?}: {}", service.name, reply.payload.longest());
            }
        }
    }
}

/// A client may send several commands at once if the server offers it, and the replies would overlap.
#[test]
fn no_mail_server_offers_pipelining() {
    for (name, profile) in profiles() {
        for payload in profile.services().iter().flat_map(payloads) {
            assert!(!payload.contains("PIPELINING"), "{name}: {payload}");
        }
    }
}

#[test]
fn ssh_servers_reply_with_whole_disconnect_messages() {
    let mut count = 0;
    for (name, profile) in profiles() {
        for service in profile.services().iter().filter(|service| service.banner.text().starts_with(b"SSH-2.0-")) {
            let packet = service.replies.first().unwrap().payload.text();
            let (length, rest) = packet.split_first_chunk::<4>().unwrap();
            assert_eq!(u32::from_be_bytes(*length) as usize, rest.len(), "{name}");
            assert!(packet.len().is_multiple_of(8) && rest[0] >= 4 && rest[1] == 1, "{name}");
            // The reason, a description and a language tag follow, and then the padding.
            let (length, text) = rest[6..].split_first_chunk::<4>().unwrap();
            let (description, after) = text.split_at(u32::from_be_bytes(*length) as usize);
            assert!(description.is_ascii(), "{name}");
            assert_eq!(after.len(), 4 + usize::from(rest[0]), "{name}");
            count += 1;
        }
    }
    assert_eq!(count, 6);
}
