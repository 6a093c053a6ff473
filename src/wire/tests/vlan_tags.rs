//! VLAN tags: up to two are skipped, and stay in the reply.

use crate::common;

use common::{Request, Setup};
use tcp_bounce_wire::Verdict;
use tcp_bounce_wire::ethernet::VlanTag;

const TAGS: [[u8; 4]; 4] =
    [[0x81, 0x00, 0x00, 0x2a], [0x81, 0x00, 0xff, 0xff], [0x88, 0xa8, 0x60, 0x07], [0x88, 0xa8, 0x00, 0x00]];

fn families(request: Request) -> [Request; 2] {
    [request.clone(), request.over_ipv6()]
}

#[test]
fn skips_one_or_two_tags() {
    for (request, verdict) in [(Request::syn(), Verdict::Answered), (Request::ack(), Verdict::Completed)] {
        for request in families(request) {
            for outer in TAGS {
                let once = Request { tags: outer.to_vec(), ..request.clone() };
                assert_eq!(Setup::standard().verdict(&once.frame()), verdict, "{once:?}");
                for inner in TAGS {
                    let twice = Request { tags: [outer, inner].concat(), ..request.clone() };
                    assert_eq!(Setup::standard().verdict(&twice.frame()), verdict, "{twice:?}");
                }
            }
        }
    }
}

#[test]
fn answers_only_the_tags_of_the_host_if_tags_are_filtered() {
    let tag = |[a, b, c, d]: [u8; 4]| VlanTag {
        protocol: u16::from_be_bytes([a, b]),
        id: u16::from_be_bytes([c, d]) & 0xfff,
    };
    for (own, other) in TAGS.iter().flat_map(|own| TAGS.map(|other| (*own, other))) {
        let mut setup = Setup { filters_vlans: true, ..Setup::standard() };
        setup.filters.vlans.insert(tag(own));
        setup.filters.vlans.insert_inner(tag(other));
        for request in families(Request::syn()) {
            assert_eq!(setup.verdict(&request.frame()), Verdict::Answered, "without a tag");
            for outer in TAGS {
                // A tag with the identifier 0 only gives a priority.
                let is_known = tag(outer) == tag(own) || tag(outer).id == 0;
                let expected = if is_known { Verdict::Answered } else { Verdict::OtherVlan };
                let once = Request { tags: outer.to_vec(), ..request.clone() };
                assert_eq!(setup.verdict(&once.frame()), expected, "{once:?}, the host has {own:02x?}");
                for inner in TAGS {
                    let is_known = (tag(outer), tag(inner)) == (tag(own), tag(other));
                    let expected = if is_known { Verdict::Answered } else { Verdict::OtherVlan };
                    let twice = Request { tags: [outer, inner].concat(), ..request.clone() };
                    assert_eq!(
                        setup.verdict(&twice.frame()),
                        expected,
                        "{twice:?}, the host has {own:02x?} {other:02x?}"
                    );
                }
            }
        }
    }
}

#[test]
fn passes_frames_with_more_tags() {
    for request in families(Request::syn()) {
        for outer in TAGS {
            let request = Request { tags: [outer, TAGS[0], TAGS[0]].concat(), ..request.clone() };
            assert_eq!(Setup::takeover().verdict(&request.frame()), Verdict::NotIp, "{request:?}");
        }
    }
}

#[test]
fn passes_other_ethertypes() {
    for first in [[0x91, 0x00], [0x81, 0x01], [0x88, 0xa9], [0x88, 0xe5]] {
        let request = Request { tags: vec![first[0], first[1], 0, 42], ..Request::syn() };
        assert_eq!(Setup::takeover().verdict(&request.frame()), Verdict::NotIp, "{request:?}");
    }
}
