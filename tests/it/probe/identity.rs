//! The answers of a responder with `--on-connect identify`, and their tokens.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::fixtures::network::{CLIENT, CLIENT_V6, HOST, HOST_V6, Mode, Network};
use crate::fixtures::probe::{ports, probe, run_probe};

in_each_mode! {
    tokens_prove_the_key_of_the_responder,
}

fn tokens_prove_the_key_of_the_responder(mode: Mode) {
    let network = Network::new(mode);
    let folder = tempfile::tempdir().unwrap();
    let [right, wrong] = [("right", "00112233445566778899aabbccddeeff"), ("wrong", "ffeeddccbbaa99887766554433221100")]
        .map(|(name, key)| {
            let path = folder.path().join(name);
            fs::write(&path, key).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path.display().to_string()
        });
    let _responder = network.start_responder(&format!("--on-connect identify --key-file {right}"));
    for (host, client) in [(HOST.to_string(), CLIENT.to_string()), (HOST_V6.to_string(), CLIENT_V6.to_string())] {
        for (key, kind, is_proven) in [
            (format!("--key-file {right}"), "tcp-bounce", json!(true)),
            (format!("--key-file {wrong}"), "impostor", json!(false)),
            (String::new(), "tcp-bounce", json!(null)),
        ] {
            let report = probe(&network.client, &format!("{key} --ports 80,8443 {host}"));
            let ports = ports(&report, 0);
            for port in [80, 8443] {
                let answer = &ports[&port]["answer"];
                assert_eq!((&answer["kind"], &answer["is_proven"]), (&json!(kind), &is_proven), "{report}");
                // This side and the far side see the same two ends.
                assert_eq!(answer["source"], answer["local"], "{report}");
                assert!(answer["source"].as_str().unwrap().contains(&client), "{report}");
            }
        }
    }
    let refused = run_probe(&network.client, &format!("--key-file {right}.not {HOST}"));
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(refused.stderr.starts_with("error: cannot read the key file"), "{refused:?}");
}
