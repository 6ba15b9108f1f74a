//! Keys, and a login by a credentials file at a real server.

use lanner_plugin::Delivery;
use lanner_plugin::testing::{self, Alert};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use test_support::peers::NatsServer;

use super::*;

#[test]
fn the_checksum_is_that_of_the_standard() {
    assert_eq!(crc16(b"123456789"), 0x31c3);
}

#[test]
fn the_seed_of_a_user_gives_its_key_and_another_text_none() {
    // from the documentation of github.com/nats-io/nkeys and of the credentials of clients
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    let public = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
    let found = key(seed).unwrap();
    let expected = BASE32_NOPAD.decode(public.as_bytes()).unwrap();
    assert_eq!(found.public_key().as_ref(), &expected[1..33]);
    for wrong in [
        "",
        "SU",
        public,
        &seed.replace("SUACS", "SUACT"),
        &seed[..56],
    ] {
        assert!(key(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn sections_have_both_borders() {
    let text = "-----BEGIN NATS USER JWT-----\r\nabc.d_e\r\n------END NATS USER JWT------\n\n\
        -----BEGIN USER NKEY SEED-----\nSU\n";
    assert_eq!(section(text, "NATS USER JWT"), Some("abc.d_e"));
    assert_eq!(section(text, "USER NKEY SEED"), None);
    assert_eq!(section("", "NATS USER JWT"), None);
}

/// A key with the letter that says whose it is.
struct Key {
    pair: Ed25519KeyPair,
    seed: [u8; 32],
    kind: u8,
}

impl Key {
    fn new(kind: u8, seed: u8) -> Self {
        let seed = [seed; 32];
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        Self { pair, seed, kind }
    }

    fn public(&self) -> String {
        encoded(&[&[self.kind], self.pair.public_key().as_ref()].concat())
    }

    fn seed(&self) -> String {
        let what = [SEED | self.kind >> 5, self.kind << 3];
        encoded(&[&what[..], &self.seed].concat())
    }

    /// What this key says about another one, as a JWT of version 2 (github.com/nats-io/jwt).
    fn says(&self, about: &Self, claims: &Value) -> String {
        let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
        let body = json!({
            "jti": "1",
            "iat": 1_700_000_000,
            "iss": self.public(),
            "name": "test",
            "sub": about.public(),
            "nats": claims,
        });
        let text = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", text(&header), text(&body));
        let signature = BASE64URL_NOPAD.encode(self.pair.sign(signed.as_bytes()).as_ref());
        format!("{signed}.{signature}")
    }
}

/// Bytes and their checksum in base 32.
fn encoded(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(&[bytes, &crc16(bytes).to_le_bytes()].concat())
}

#[test]
fn a_credentials_file_is_a_login() {
    const OPERATOR: u8 = 14 << 3;
    const ACCOUNT: u8 = 0;
    let keys = [
        (OPERATOR, 1),
        (ACCOUNT, 2),
        (ACCOUNT, 3),
        (USER, 4),
        (USER, 5),
    ];
    let [operator, system, account, user, other] = keys.map(|(kind, seed)| Key::new(kind, seed));
    let all = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1});
    let accounts = json!({"limits": all, "type": "account", "version": 2});
    let system_account = json!({"limits": {"subs": -1, "conn": -1, "exports": -1, "imports": -1, "data": -1,
        "payload": -1, "wildcards": true}, "type": "account", "version": 2});
    let users = json!({"subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2});
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("server.conf");
    let text = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}: {}\n{}: {}\n}}\n",
        operator.says(
            &operator,
            &json!({"type": "operator", "version": 2, "system_account": system.public()})
        ),
        system.public(),
        system.public(),
        operator.says(&system, &system_account),
        account.public(),
        operator.says(&account, &accounts),
    );
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let Some(server) = NatsServer::start(&["-c", config]) else {
        return;
    };
    let jwt = account.says(&user, &users);
    for (key, is_right) in [(&user, true), (&other, false)] {
        let file = folder.path().join("user.creds");
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            key.seed()
        );
        std::fs::write(&file, text).unwrap();
        let settings = json!({
            "servers": [format!("nats://127.0.0.1:{}", server.port)],
            "credentials_file": file,
        });
        let mut output: crate::Output = testing::open(&settings).unwrap();
        let answer = testing::emit(&mut output, &[Alert::new("A rule", "text")]);
        match answer {
            Delivery::Delivered => assert!(is_right),
            Delivery::TryAgain { reason, .. } if !is_right => {
                assert!(reason.contains("Authorization Violation"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}
