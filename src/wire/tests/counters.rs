//! Counters of verdicts, and the XDP actions, names and descriptions of verdicts.

use std::collections::HashSet;

use tcp_bounce_wire::{Counters, Verdict, XdpAction};

/// Returns counters in which the verdict at each `index` was counted `times(index)` times.
fn counted(times: impl Fn(u64) -> u64) -> Counters {
    let mut counters = Counters::default();
    for (place, verdict) in (0..).zip(Verdict::ALL) {
        (0..times(place)).for_each(|_| counters.count(verdict as usize));
    }
    counters
}

#[test]
fn lists_verdicts_in_the_order_of_their_values() {
    for (place, verdict) in Verdict::ALL.into_iter().enumerate() {
        assert_eq!(verdict as usize, place);
    }
}

#[test]
fn counts_each_verdict_separately() {
    for verdict in Verdict::ALL {
        let mut counters = Counters::default();
        counters.count(verdict as usize);
        for other in Verdict::ALL {
            assert_eq!(counters[other], u64::from(other == verdict), "{other:?} after one {verdict:?}");
        }
    }
}

#[test]
fn counts_each_call() {
    let counters = counted(|place| 3 * place + 1);
    for (place, verdict) in (0..).zip(Verdict::ALL) {
        assert_eq!(counters[verdict], 3 * place + 1, "{verdict:?}");
    }
}

#[test]
fn maps_each_verdict_to_its_action() {
    for verdict in Verdict::ALL {
        let expected = match verdict {
            Verdict::Answered
            | Verdict::Reset
            | Verdict::Closed
            | Verdict::Greeted
            | Verdict::Accepted
            | Verdict::Replied => XdpAction::Tx,
            Verdict::Completed
            | Verdict::Later
            | Verdict::WithoutAck
            | Verdict::NoRoomForPayload
            | Verdict::TakenOver => XdpAction::Drop,
            _ => XdpAction::Pass,
        };
        assert_eq!(verdict.action(), expected, "{verdict:?}");
    }
}

#[test]
fn totals_the_verdicts_of_an_action() {
    // No two selections of these counts have the same sum, so a total shows which counters it includes.
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
        (0..count).for_each(|_| counters.count(verdict as usize));
    }
    assert_eq!(counters.total(XdpAction::Tx), 1);
    assert_eq!(counters.total(XdpAction::Drop), 1110);
    assert_eq!(counters.total(XdpAction::Pass), 222);
}

#[test]
fn starts_at_zero() {
    for action in [XdpAction::Tx, XdpAction::Drop, XdpAction::Pass] {
        assert_eq!(Counters::default().total(action), 0);
    }
}

#[test]
fn adds_counters_one_by_one() {
    let sum = counted(|place| place) + counted(|place| 100 * (place + 1));
    assert_eq!(sum, counted(|place| place + 100 * (place + 1)));
    for (place, verdict) in (0..).zip(Verdict::ALL) {
        assert_eq!(sum[verdict], 101 * place + 100, "{verdict:?}");
    }
    assert_eq!(sum + Counters::default(), sum);
}

#[test]
fn sums_many_counters() {
    // The counters of all CPUs are added up with `sum`.
    let each = [1, 10, 100].map(|factor| counted(|place| factor * place));
    assert_eq!(each.into_iter().sum::<Counters>(), counted(|place| 111 * place));
    assert_eq!([].into_iter().sum::<Counters>(), Counters::default());
}

#[test]
fn converts_from_numbers_in_the_order_of_the_verdicts() {
    let numbers = std::array::from_fn(|place| place as u64);
    assert_eq!(Counters::from(numbers), counted(|place| place));
}

#[test]
fn counts_completed_handshakes_of_all_actions() {
    // The ACK that completes a handshake gets one of four verdicts, depending on the action of the port and on its
    // data.
    let completed = [Verdict::Completed, Verdict::Reset, Verdict::Closed, Verdict::Greeted, Verdict::Accepted];
    for (verdict, count) in completed.into_iter().zip([5, 70, 900, 3]) {
        let mut counters = Counters::default();
        (0..count).for_each(|_| counters.count(verdict as usize));
        assert_eq!(counters.completed(), count, "{verdict:?}");
    }
    let all = counted(|place| place + 1);
    assert_eq!(all.completed(), completed.iter().map(|&verdict| all[verdict]).sum());
}

#[test]
fn names_each_verdict_after_its_variant() {
    for verdict in Verdict::ALL {
        let mut name = String::new();
        for letter in format!("{verdict:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        assert_eq!(verdict.name(), name);
    }
}

#[test]
fn describes_verdicts_uniquely_and_marks_passed_frames() {
    for count in [1, 2] {
        let descriptions = Verdict::ALL.map(|verdict| verdict.description(count));
        assert_eq!(HashSet::from(descriptions).len(), descriptions.len());
        for verdict in Verdict::ALL {
            let is_passed = verdict.description(count).starts_with("passed: ");
            assert_eq!(is_passed, verdict.action() == XdpAction::Pass, "{verdict:?}");
        }
    }
}

#[test]
fn describes_one_frame_in_the_singular() {
    let described = [0, 1, 2].map(|count| Verdict::Answered.description(count));
    assert_eq!(described, ["SYNs answered", "SYN answered", "SYNs answered"]);
    assert_eq!(Verdict::Later.description(1), "later segment dropped");
}
