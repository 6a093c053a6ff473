//! The table of local ports: state changes of sockets, as the kernel reports them.

use tcp_bounce_wire::LocalPorts;
use tcp_bounce_wire::local_ports::{StateChange, TCP_CLOSE, TCP_ESTABLISHED, TCP_LISTEN};

const NAMESPACE: u64 = 0xffff_8880_1234_5678;
const SYN_SENT: u32 = 2;

/// Returns a table in the state that user space leaves it in: it is complete, and records the sockets of [`NAMESPACE`].
fn table(has_grace: bool) -> Box<LocalPorts> {
    let mut table = Box::new(LocalPorts::new());
    // SAFETY: The offsets are those of fields of the table, and any number is valid in each field.
    unsafe {
        let bytes = (&raw mut *table).cast::<u8>();
        bytes.add(LocalPorts::NAMESPACE).cast::<u64>().write(NAMESPACE);
        bytes.add(LocalPorts::EPOCH).write(7);
        bytes.add(LocalPorts::COMPLETENESS).write(LocalPorts::COMPLETE);
        bytes.add(LocalPorts::HAS_GRACE).write(has_grace.into());
    }
    table
}

fn change(port: u16, old_state: u32, new_state: u32) -> StateChange {
    StateChange { namespace: NAMESPACE, port, old_state, new_state, is_loopback: false }
}

#[test]
fn may_contain_every_port_unless_it_is_complete() {
    for port in 0..=u16::MAX {
        assert!(LocalPorts::new().may_contain(port), "{port}");
        assert!(!table(true).may_contain(port), "{port}");
    }
}

#[test]
fn records_the_port_of_each_socket() {
    for port in [1, 22, 80, 0x1234, u16::MAX] {
        for state in [SYN_SENT, TCP_ESTABLISHED, TCP_LISTEN] {
            let table = table(true);
            table.record(change(port, TCP_CLOSE, state));
            for other in 0..=u16::MAX {
                assert_eq!(table.may_contain(other), other == port, "{other} after {state} on {port}");
            }
        }
    }
}

#[test]
fn ignores_sockets_of_other_namespaces() {
    let table = table(true);
    for (old_state, new_state) in [(TCP_CLOSE, TCP_LISTEN), (TCP_LISTEN, TCP_CLOSE), (SYN_SENT, TCP_ESTABLISHED)] {
        table.record(StateChange { namespace: NAMESPACE ^ 1, ..change(80, old_state, new_state) });
        table.record(StateChange { namespace: NAMESPACE ^ 1, ..change(0, old_state, new_state) });
    }
    assert!(!table.may_contain(80) && !table.has_closed_listener(80));
}

#[test]
fn is_incomplete_after_a_listener_without_a_port() {
    let table = table(true);
    // The kernel chooses the port of a connecting socket after it reports the first change.
    table.record(change(0, TCP_CLOSE, SYN_SENT));
    assert!(!table.may_contain(1));
    table.record(change(0, TCP_CLOSE, TCP_LISTEN));
    assert!((0..=u16::MAX).all(|port| table.may_contain(port)));
}

#[test]
fn marks_closed_listeners_only_with_a_grace_time() {
    for has_grace in [false, true] {
        let table = table(has_grace);
        table.record(change(80, TCP_CLOSE, TCP_LISTEN));
        table.record(change(81, TCP_CLOSE, TCP_ESTABLISHED));
        assert!(!table.has_closed_listener(80));
        table.record(change(80, TCP_LISTEN, TCP_CLOSE));
        table.record(change(81, TCP_ESTABLISHED, TCP_CLOSE));
        assert_eq!(table.has_closed_listener(80), has_grace);
        assert!(!table.has_closed_listener(81), "only listeners have a grace time");
        table.record(StateChange { is_loopback: true, ..change(82, TCP_LISTEN, TCP_CLOSE) });
        assert!(!table.has_closed_listener(82), "no packet from a network reached this listener");
    }
}

#[test]
fn learns_its_namespace_from_the_probe_port() {
    let mut table = Box::new(LocalPorts::new());
    // SAFETY: These are the offsets of fields, in which any number is valid.
    let [namespace, probe] = unsafe {
        let bytes = (&raw mut *table).cast::<u8>();
        [bytes.add(LocalPorts::NAMESPACE).cast::<u64>(), bytes.add(LocalPorts::PROBE_PORT).cast()]
    };
    let known = || {
        // SAFETY: The pointer is valid as long as the table.
        unsafe { namespace.read() }
    };
    table.record(change(8080, TCP_CLOSE, TCP_LISTEN));
    assert_eq!(known(), 0, "there is no probe port");
    // SAFETY: The pointer is valid as long as the table.
    unsafe { probe.cast::<u32>().write(8080) };
    table.record(change(8081, TCP_CLOSE, TCP_LISTEN));
    table.record(change(8080, TCP_CLOSE, SYN_SENT));
    assert_eq!(known(), 0, "these are other sockets");
    table.record(change(8080, TCP_CLOSE, TCP_LISTEN));
    assert_eq!(known(), NAMESPACE);
    table.record(StateChange { namespace: 1, ..change(8080, TCP_CLOSE, TCP_LISTEN) });
    assert_eq!(known(), NAMESPACE, "the namespace does not change");
}
