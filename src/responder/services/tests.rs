//! Tests of the tables: each port has the payloads of its service.

use tcp_bounce_wire::service::Request;
use tcp_bounce_wire::{Field, FieldKind};

use super::*;

const KEY: [u8; 16] = [7; 16];

fn tables_of(text: &str) -> ServiceTables {
    tables(&Profile::parse(text, "test.toml").unwrap(), &KEY, SystemTime::UNIX_EPOCH).unwrap()
}

/// Returns the bytes of a payload, as the program writes them.
fn bytes(tables: &ServiceTables, payload: Payload) -> Vec<u8> {
    let blocks = &tables.blocks[payload.first_block as usize..];
    let padded: Vec<u8> = blocks.iter().flat_map(|block| block.0.concat()).take(payload.padded_length()).collect();
    padded[payload.padded_length() - usize::from(payload.length)..].to_vec()
}

fn service(tables: &ServiceTables, port: u16) -> &Service {
    &tables.services[usize::from(tables.by_port.get(port))]
}

fn request(text: &str) -> Request {
    let mut start = [0; 8];
    start.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte);
    Request { start: u64::from_le_bytes(start), length: text.len() as u32 }
}

#[test]
fn each_port_has_its_payloads() {
    let tables = tables_of(
        r#"
        [[service]]
        ports = "80,8080"
        replies = [{ prefix = "get ", send = "page of {port}" }, { prefix = { hex = "16 03" }, send = "tls" }]
        end = "close"
        [[service]]
        ports = "22-24"
        banner = "ready"
        "#,
    );
    for port in [22, 23, 24] {
        assert_eq!(bytes(&tables, service(&tables, port).banner()), b"ready");
        assert!(!service(&tables, port).has_replies());
    }
    for (port, page) in [(80, "page of 80"), (8080, "page of 8080")] {
        let service = service(&tables, port);
        assert!(service.banner().is_empty() && service.ends_with(tcp_bounce_wire::Ending::Close));
        for text in ["GET /index.html", "get /", "Get "] {
            assert_eq!(bytes(&tables, service.reply_to(request(text))), page.as_bytes(), "{text}");
        }
        assert_eq!(bytes(&tables, service.reply_to(request("\x16\x03\x01"))), b"tls");
        for text in ["GET", "PUT /", "\x16", ""] {
            assert!(service.reply_to(request(text)).is_empty(), "{text}");
        }
    }
}

#[test]
fn equal_services_and_payloads_share_entries() {
    let tables = tables_of("[[service]]\nports = \"others\"\nbanner = \"one\"\nreplies = [{ send = \"one\" }]");
    assert_eq!((tables.services.len(), tables.blocks.len()), (1, 1));
    let service = service(&tables, 65535);
    assert_eq!(service.banner(), service.reply_to(request("x")));
}

#[test]
fn payloads_with_fields_differ_between_ip_versions() {
    let tables = tables_of(
        r#"
        [[service]]
        ports = "80,81"
        banner = "{client} on {port}\n"
        [[service]]
        ports = "22"
        banner = "ready since {date}"
        "#,
    );
    assert!(tables.has_fields);
    assert_eq!(tables.services.len(), 6);
    for (version, width) in [(0, 15), (1, 39)] {
        let banner = |port| tables.services[2 * usize::from(tables.by_port.get(port)) + version].banner();
        for (port, end) in [(80, " on 80\n"), (81, " on 81\n")] {
            assert_eq!(bytes(&tables, banner(port)), [&vec![0; width], end.as_bytes()].concat());
            assert_eq!(banner(port).fields, Fields::new(&[Field { kind: FieldKind::Client, offset: 0 }]));
        }
        assert_eq!(bytes(&tables, banner(22)), b"ready since Thu, 01 Jan 1970 00:00:00 +0000");
        assert!(banner(22).fields.is_empty());
    }
}

#[test]
fn payloads_of_zeros_are_no_fields() {
    let tables = tables_of(
        r#"
        [[service]]
        ports = 1
        banner = { hex = "00 00 00 00 00" }
        [[service]]
        ports = 2
        banner = "{client_port}"
        "#,
    );
    let fields = [1, 2].map(|port| tables.services[2 * usize::from(tables.by_port.get(port))].banner().fields);
    assert_eq!(fields.map(Fields::is_empty), [true, false]);
}

#[test]
fn no_table_is_empty_and_the_largest_profile_fits() {
    let tables = tables_of("[[service]]\nports = \"others\"\nbanner = \"port {port}\"");
    assert_eq!(tables.services.len(), 65536);
    assert!(!tables.has_fields);
    for port in [0, 1, 22, 65535] {
        assert_eq!(bytes(&tables, service(&tables, port).banner()), format!("port {port}").into_bytes());
    }
    let largest = tables_of("[[service]]\nports = \"others\"\nbanner = \"{client} {port}\"");
    assert_eq!((largest.services.len(), largest.by_port.get(0)), (2 * 65536, 0));
    let last = &largest.services[2 * usize::from(largest.by_port.get(65535)) + 1];
    assert_eq!(bytes(&largest, last.banner()), [&[0; 39][..], b" 65535"].concat());
    for built_in in crate::config::BuiltIn::ALL {
        let tables = super::tables(&built_in.parse().unwrap(), &KEY, SystemTime::UNIX_EPOCH).unwrap();
        assert!(!tables.services.is_empty() && !tables.blocks.is_empty());
    }
}
