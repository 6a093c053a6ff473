//! Counters count what they are told to, and each verdict has its action.

use std::collections::HashSet;

use tcp_bounce_wire::{Counters, Verdict, XdpAction};

/// Counters that counted each verdict `times(its place in the list)` times.
fn counted(times: impl Fn(u64) -> u64) -> Counters {
    let mut counters = Counters::default();
    for (place, verdict) in (0..).zip(Verdict::ALL) {
        (0..times(place)).for_each(|_| counters.count(verdict));
    }
    counters
}

#[test]
fn every_verdict_is_at_the_place_of_its_index() {
    for (place, verdict) in Verdict::ALL.into_iter().enumerate() {
        assert_eq!(verdict as usize, place);
    }
}

#[test]
fn every_verdict_is_counted_by_itself() {
    for verdict in Verdict::ALL {
        let mut counters = Counters::default();
        counters.count(verdict);
        for other in Verdict::ALL {
            assert_eq!(counters[other], u64::from(other == verdict), "{other:?} after one {verdict:?}");
        }
    }
}

#[test]
fn counts_are_the_numbers_of_calls() {
    let counters = counted(|place| 3 * place + 1);
    for (place, verdict) in (0..).zip(Verdict::ALL) {
        assert_eq!(counters[verdict], 3 * place + 1, "{verdict:?}");
    }
}

/// Only an answer goes out, and only TCP that cannot concern the host is dropped.
#[test]
fn what_is_not_answered_is_passed_but_for_tcp_that_is_ours() {
    for verdict in Verdict::ALL {
        let expected = match verdict {
            Verdict::Answered | Verdict::Reset | Verdict::Closed | Verdict::Replied => XdpAction::Tx,
            Verdict::Completed | Verdict::Later | Verdict::TakenOver => XdpAction::Drop,
            _ => XdpAction::Pass,
        };
        assert_eq!(verdict.action(), expected, "{verdict:?}");
    }
}

#[test]
fn a_total_is_the_sum_over_the_verdicts_of_an_action() {
    // Each count is a digit of its own, so a total shows what it was made of.
    let mut counters = Counters::default();
    for (verdict, count) in [
        (Verdict::Answered, 1),
        (Verdict::Completed, 10),
        (Verdict::Later, 100),
        (Verdict::TakenOver, 1000),
        (Verdict::NotIp, 2),
        (Verdict::NoRoom, 20),
        (Verdict::OtherTcp, 200),
    ] {
        (0..count).for_each(|_| counters.count(verdict));
    }
    assert_eq!(counters.total(XdpAction::Tx), 1);
    assert_eq!(counters.total(XdpAction::Drop), 1110);
    assert_eq!(counters.total(XdpAction::Pass), 222);
}

#[test]
fn nothing_is_counted_at_first() {
    for action in [XdpAction::Tx, XdpAction::Drop, XdpAction::Pass] {
        assert_eq!(Counters::default().total(action), 0);
    }
}

#[test]
fn addition_adds_each_counter() {
    let sum = counted(|place| place) + counted(|place| 100 * (place + 1));
    assert_eq!(sum, counted(|place| place + 100 * (place + 1)));
    for (place, verdict) in (0..).zip(Verdict::ALL) {
        assert_eq!(sum[verdict], 101 * place + 100, "{verdict:?}");
    }
    assert_eq!(sum + Counters::default(), sum);
}

/// So those of all CPUs become one.
#[test]
fn a_sum_adds_up_all_of_them() {
    let each = [1, 10, 100].map(|factor| counted(|place| factor * place));
    assert_eq!(each.into_iter().sum::<Counters>(), counted(|place| 111 * place));
    assert_eq!([].into_iter().sum::<Counters>(), Counters::default());
}

#[test]
fn counters_come_in_the_order_of_the_verdicts() {
    let numbers = std::array::from_fn(|place| place as u64);
    assert_eq!(Counters::from(numbers), counted(|place| place));
}

/// Which mode a connection has makes three verdicts of one thing that a client does.
#[test]
fn a_handshake_is_completed_whatever_becomes_of_the_connection() {
    let completed = [Verdict::Completed, Verdict::Reset, Verdict::Closed];
    for (verdict, count) in completed.into_iter().zip([5, 70, 900]) {
        let mut counters = Counters::default();
        (0..count).for_each(|_| counters.count(verdict));
        assert_eq!(counters.completed(), count, "{verdict:?}");
    }
    let all = counted(|place| place + 1);
    assert_eq!(all.completed(), completed.iter().map(|&verdict| all[verdict]).sum());
}

/// Programs know a verdict by its name in Rust, with underscores.
#[test]
fn a_name_is_that_of_the_verdict() {
    for verdict in Verdict::ALL {
        let mut name = String::new();
        for letter in format!("{verdict:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        // Programs know these two by older names.
        let published = match verdict {
            Verdict::Excluded => "spared",
            Verdict::OtherTcp => "not_ours",
            _ => &name,
        };
        assert_eq!(verdict.name(), published);
    }
}

#[test]
fn a_description_is_one_of_its_own_and_says_whether_the_frame_is_passed() {
    let descriptions = Verdict::ALL.map(Verdict::description);
    assert_eq!(HashSet::from(descriptions).len(), descriptions.len());
    for verdict in Verdict::ALL {
        let is_passed = verdict.description().starts_with("passed: ");
        assert_eq!(is_passed, verdict.action() == XdpAction::Pass, "{verdict:?}");
    }
}
