//! Tests of the tables: each port has the payloads of its service.

use tcp_bounce_wire::service::Request;

use super::*;

const KEY: [u8; 16] = [7; 16];

fn tables_of(text: &str) -> ServiceTables {
    tables(&Profile::parse(text, "test.toml").unwrap(), &KEY).unwrap()
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
fn no_table_is_empty_and_the_largest_profile_fits() {
    let tables = tables_of("[[service]]\nports = \"others\"\nbanner = \"port {port}\"");
    assert_eq!(tables.services.len(), 65536);
    for port in [0, 1, 22, 65535] {
        assert_eq!(bytes(&tables, service(&tables, port).banner()), format!("port {port}").into_bytes());
    }
    for built_in in crate::config::BuiltIn::ALL {
        let tables = super::tables(&built_in.parse().unwrap(), &KEY).unwrap();
        assert!(!tables.services.is_empty() && !tables.blocks.is_empty());
    }
}
