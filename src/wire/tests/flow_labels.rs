//! IPv6 flow labels of replies. `Setup::respond` checks which bits may be set.

use std::collections::BTreeSet;

use crate::common;

use common::{ACK, Choice, PSH, Request, Segment, Setup, V6, label};
use tcp_bounce_wire::Action;

/// Returns the label of the reply to `request`.
fn label_of_reply(setup: &Setup, request: &Request) -> u32 {
    label(&Segment::parse(&setup.respond(&request.frame()).1).expect("a segment"))
}

/// Returns a setup that answers data, with the given choice of flow labels.
fn setup(flow_labels: [bool; 3], key: Option<[u8; 16]>) -> Setup {
    Setup::new(Choice { action: Action::Discard, flow_labels, key, ..Choice::DEFAULT })
}

/// Returns data that follows the SYN-ACK to `syn`.
fn data(setup: &Setup, syn: &Request) -> Request {
    let syn_ack = setup.respond(&syn.frame()).1;
    let isn = Segment::parse(&syn_ack).expect("a segment").tcp.sequence_number();
    Request {
        flags: ACK | PSH,
        sequence_number: syn.sequence_number.wrapping_add(1),
        acknowledgment_number: isn.wrapping_add(1),
        payload: b"data".to_vec(),
        ..syn.clone()
    }
}

#[test]
fn keeps_the_label_of_a_connection() {
    for key in [None, Some([7; 16])] {
        for is_marked in [false, true] {
            let setup = setup([true, is_marked, false], key);
            let mut labels = BTreeSet::new();
            for source_port in 1000..1100 {
                let syn = Request { source_port, ..Request::syn() }.over_ipv6();
                let label = label_of_reply(&setup, &syn);
                assert_eq!(label, label_of_reply(&setup, &syn), "a retransmitted SYN");
                assert_eq!(label, label_of_reply(&setup, &data(&setup, &syn)), "later data");
                labels.insert(label);
            }
            assert!(labels.len() >= 99, "{} labels for 100 connections", labels.len());
        }
    }
}

#[test]
fn reflects_the_clients_label() {
    for has_labels in [false, true] {
        let setup = setup([has_labels, false, true], None);
        for class_and_flow in [0x12345, 0xfffff, 1 << 20 | 7] {
            let syn = Request { v6: Some(V6 { class_and_flow, ..V6::new() }), ..Request::syn().over_ipv6() };
            assert_eq!(label_of_reply(&setup, &syn), class_and_flow & 0xf_ffff);
            assert_eq!(label_of_reply(&setup, &data(&setup, &syn)), class_and_flow & 0xf_ffff);
        }
        assert_eq!(label_of_reply(&setup, &Request::syn().over_ipv6()) != 0, has_labels, "a SYN without a label");
    }
}
