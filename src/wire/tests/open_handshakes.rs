//! The table of open handshakes.

use tcp_bounce_wire::{OpenHandshakes, Verdict};

#[test]
fn completes_each_handshake_once() {
    let table = OpenHandshakes::new();
    for id in [0, 1, 80 << 32, u64::MAX] {
        assert!(!table.complete(id), "{id:#x}");
        table.open(id);
        table.open(id);
        assert!(table.complete(id), "{id:#x}");
        assert!(!table.complete(id), "{id:#x}");
    }
}

#[test]
fn expects_the_first_data_of_each_connection_once() {
    for completes in [false, true] {
        let table = OpenHandshakes::new();
        for id in [0, 1, 80 << 32, u64::MAX] {
            assert!(!table.remove(id), "{id:#x}");
            table.open(id);
            assert!(!completes || table.complete(id), "{id:#x}");
            assert!(table.remove(id), "{id:#x}");
            assert!(!table.remove(id) && !table.complete(id), "{id:#x}");
        }
    }
}

#[test]
fn keeps_nearly_all_of_the_latest_handshakes() {
    let table = OpenHandshakes::new();
    let ids = |count: u64| (0..count).map(|number| 0xc000_0201 + (number << 32 | number.rotate_left(16)));
    ids(1000).for_each(|id| table.open(id));
    let completed = ids(1000).filter(|&id| table.complete(id)).count();
    assert!(completed >= 950, "{completed}");
}

#[test]
fn mistakes_few_connections_for_open_handshakes() {
    let table = OpenHandshakes::new();
    (0..100_000).for_each(|number| table.open(number << 20));
    let mistaken = (0..100_000).filter(|number| table.complete(1 << 63 | number << 20)).count();
    assert!(mistaken <= 20, "{mistaken}");
}

#[test]
fn adds_the_completion_to_verdicts_on_data() {
    for verdict in Verdict::ALL {
        let expected = match verdict {
            Verdict::Later => Verdict::Completed,
            Verdict::Replied => Verdict::Accepted,
            verdict => verdict,
        };
        assert_eq!(verdict.completing_handshake(), expected);
    }
}
