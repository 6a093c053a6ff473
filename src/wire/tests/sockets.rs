//! Segments for which the host has a socket are passed to the host.

use crate::common;

use common::{ACK, Choice, FIN, LINUX_OPTIONS, MACOS_OPTIONS, PSH, Request, SYN, Setup, URG, V6, WINDOWS_OPTIONS};
use tcp_bounce_wire::frame::Buffer;
use tcp_bounce_wire::{Action, TelemetrySettings, Verdict};

/// Returns SYNs over IPv4 and IPv6, on the fast path and on the general path.
fn syns() -> Vec<Request> {
    let options: [&[u8]; 4] = [&[], &LINUX_OPTIONS, &MACOS_OPTIONS, &WINDOWS_OPTIONS];
    let syns = options.map(|options| Request { options: options.to_vec(), ..Request::syn() });
    syns.into_iter().flat_map(|syn| [syn.clone(), syn.clone().tagged(), syn.over_ipv6()]).collect()
}

/// Returns a setup in which the SYNs of common clients take the fast path.
fn setup() -> Setup {
    let primary = Some((Request::syn().destination, V6::new().destination));
    Setup::new(Choice { mac: Some(Request::syn().destination_mac), primary, ..Choice::DEFAULT })
}

#[test]
fn passes_syns_to_listeners() {
    let port = Request::syn().destination_port;
    for (listening, closed) in [(Some(port), None), (None, Some(port))] {
        let telemetry = TelemetrySettings { ports: true, ..TelemetrySettings::default() };
        let setup = Setup { listening, closed, telemetry, ..setup() };
        for syn in syns() {
            let mut frame = syn.frame();
            let length = frame.len();
            let (verdict, counted) = setup.run_and_count(&mut Buffer::new(&mut frame, length));
            assert_eq!((verdict, counted), (Verdict::Excluded, vec![port]), "{syn:?}");
            let other = Request { destination_port: port + 1, ..syn };
            assert_eq!(setup.verdict(&other.frame()), Verdict::Answered, "{other:?}");
        }
    }
}

#[test]
fn passes_syns_for_existing_connections() {
    let port = Request::syn().source_port;
    let setup = Setup { connected: Some(port), ..setup() };
    for syn in syns() {
        assert_eq!(setup.verdict(&syn.frame()), Verdict::OtherTcp, "{syn:?}");
        let other = Request { source_port: port + 1, ..syn };
        assert_eq!(setup.verdict(&other.frame()), Verdict::Answered, "{other:?}");
    }
}

#[test]
fn passes_later_segments_to_listeners_and_sockets() {
    let port = Request::ack().destination_port;
    for (setup, expected) in [
        (Setup { listening: Some(port), ..setup() }, Verdict::Excluded),
        (Setup { closed: Some(port), ..setup() }, Verdict::Excluded),
        (Setup { connected: Some(Request::ack().source_port), ..setup() }, Verdict::OtherTcp),
    ] {
        for flags in [ACK, ACK | PSH, ACK | FIN, 0, FIN, FIN | PSH | URG, SYN | FIN] {
            for request in [Request::ack(), Request::ack().over_ipv6()] {
                let request = Request { flags, ..request };
                assert_eq!(setup.verdict(&request.frame()), expected, "{request:?}");
            }
        }
    }
}

#[test]
fn gives_the_same_answers_if_each_port_may_have_a_socket() {
    let searching = Setup { tracks_no_sockets: true, ..setup() };
    for syn in syns() {
        assert_eq!(searching.respond(&syn.frame()), setup().respond(&syn.frame()), "{syn:?}");
    }
    for flags in 0..=u8::MAX {
        let frame = Request { flags, ..Request::ack() }.frame();
        assert_eq!(searching.respond(&frame), setup().respond(&frame), "{flags:#x}");
    }
}

#[test]
fn ignores_sockets_under_takeover() {
    let (port, client) = (Request::syn().destination_port, Request::syn().source_port);
    let choice = Choice { takeover: true, ..setup().settings };
    let setup = Setup { listening: Some(port), closed: Some(port), connected: Some(client), ..Setup::new(choice) };
    for syn in syns() {
        assert_eq!(setup.verdict(&syn.frame()), Verdict::Answered, "{syn:?}");
    }
    assert_eq!(setup.verdict(&Request::ack().frame()), Verdict::Completed);
    assert_eq!(setup.verdict(&Request { flags: FIN, ..Request::ack() }.frame()), Verdict::TakenOver);
}

#[test]
fn answers_on_the_fast_path_unless_the_ports_action_follows_the_client() {
    let port = Request::syn().destination_port;
    for action in Action::ALL {
        let choice = Choice { key: Some([3; 16]), ..setup().settings };
        for actions_by_port in [vec![(port, action)], vec![(port + 1, action)]] {
            // `Setup::verdict` checks the SYN-ACK for the action of the port.
            let setup = Setup { actions_by_port, ..Setup::new(choice) };
            for syn in syns() {
                assert_eq!(setup.verdict(&syn.frame()), Verdict::Answered, "{action:?} {syn:?}");
            }
        }
    }
}
