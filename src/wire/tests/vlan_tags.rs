//! VLAN tags: up to two are skipped, and stay in the reply.

use crate::common;

use common::{Request, Setup};
use tcp_bounce_wire::Verdict;

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
