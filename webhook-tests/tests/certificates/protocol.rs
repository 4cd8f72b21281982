//! What is spoken on the webhooks' port, and what is not.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::ALL_VERSIONS;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{ALL_CIPHER_SUITES, default_provider};
use rustls::version::{TLS12, TLS13};

use crate::support::{decoded, ground};
use crate::wire::{HOST, config_with, connect, served};

/// The first bytes of a client that speaks `version` at most and knows these suites only.
fn hello(version: [u8; 2], suites: &[[u8; 2]]) -> Vec<u8> {
    let extension = |kind: u16, body: &[u8]| {
        let length = u16::try_from(body.len()).expect("short").to_be_bytes();
        [&kind.to_be_bytes()[..], &length, body].concat()
    };
    let name = HOST.as_bytes();
    let name_length = u16::try_from(name.len()).expect("short");
    let server_name = [&(name_length + 3).to_be_bytes()[..], &[0], &name_length.to_be_bytes(), name].concat();
    let extensions = [
        extension(0, &server_name),
        // P-256, points in full, and every signature that a client of that time knew: nothing else is to be missed.
        extension(10, &[0, 2, 0, 23]),
        extension(11, &[1, 0]),
        extension(13, &[0, 6, 4, 3, 4, 1, 2, 1]),
    ]
    .concat();
    let suites: Vec<u8> = suites.concat();
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).expect("short").to_be_bytes().to_vec();
    let body =
        [version.to_vec(), vec![7; 32], vec![0], length(&suites), suites, vec![1, 0], length(&extensions), extensions]
            .concat();
    let handshake = [vec![1, 0], length(&body), body].concat();
    [vec![22, 3, 1], length(&handshake), handshake].concat()
}

/// What a server says to that: the type of its first record, and of an alert, which one.
fn answer(address: SocketAddr, hello: &[u8]) -> (u8, Option<u8>) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    stream.write_all(hello).expect("sent");
    let mut record = [0; 7];
    stream.read_exact(&mut record).expect("an answer");
    (record[0], (record[0] == 21).then_some(record[6]))
}

const HANDSHAKE: (u8, Option<u8>) = (22, None);
const HANDSHAKE_FAILURE: (u8, Option<u8>) = (21, Some(40));
const PROTOCOL_VERSION: (u8, Option<u8>) = (21, Some(70));

#[test]
fn only_modern_tls_is_spoken_and_nothing_but_http_1_1() {
    let ground = ground();
    let mut controller = ground.installation.start().expect("a controller");
    controller.wait_ready().expect("ready");
    let (address, bundle) = (controller.webhook_addr(), ground.bundles().swap_remove(0));
    // ECDHE-ECDSA: with AES-128-GCM the hello is understood, so that nothing else is wrong with it.
    assert_eq!(answer(address, &hello([3, 3], &[[0xc0, 0x2b]])), HANDSHAKE);
    for (old, name) in [([3, 2], "TLS 1.1"), ([3, 1], "TLS 1.0"), ([3, 0], "SSL 3")] {
        assert_eq!(answer(address, &hello(old, &[[0xc0, 0x2b], [0xc0, 0x09]])), PROTOCOL_VERSION, "{name}");
    }
    for (weak, name) in [
        ([0xc0, 0x09], "ECDHE-ECDSA with AES-128-CBC and SHA-1"),
        ([0xc0, 0x23], "ECDHE-ECDSA with AES-128-CBC and SHA-256"),
        ([0xc0, 0x07], "ECDHE-ECDSA with RC4"),
        ([0x00, 0x9c], "RSA with AES-128-GCM"),
        ([0x00, 0x9e], "DHE-RSA with AES-128-GCM"),
        ([0x00, 0x0a], "RSA with 3DES"),
        ([0xc0, 0x06], "ECDHE-ECDSA without encryption"),
    ] {
        assert_eq!(answer(address, &hello([3, 3], &[weak])), HANDSHAKE_FAILURE, "{name}");
    }

    let mut agreed = 0;
    for suite in ALL_CIPHER_SUITES {
        let provider = CryptoProvider { cipher_suites: vec![*suite], ..default_provider() };
        let config = config_with(provider, &bundle, ALL_VERSIONS, None);
        let mut stream = connect(address, Arc::new(config)).expect("a connection");
        agreed += usize::from(stream.conn.complete_io(&mut stream.sock).is_ok());
    }
    // Three of TLS 1.3, and those of TLS 1.2 for ECDSA keys.
    assert_eq!(agreed, 6);

    for version in [&TLS12, &TLS13] {
        let with = |protocols: &[&[u8]]| {
            let mut config = config_with(default_provider(), &bundle, &[version], None);
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            let mut stream = connect(address, Arc::new(config)).expect("a connection");
            stream.conn.complete_io(&mut stream.sock)?;
            Ok::<_, std::io::Error>(stream.conn.alpn_protocol().map(<[_]>::to_vec))
        };
        assert_eq!(with(&[b"h2", b"http/1.1"]).expect("a protocol"), Some(b"http/1.1".to_vec()));
        assert!(with(&[b"h2"]).is_err());
    }
}

#[test]
fn the_serving_key_stays_in_memory() {
    let ground = ground();
    let mut controller = ground.installation.start().expect("a controller");
    controller.wait_ready().expect("ready");
    let secret = ground.secret();
    // The Secret has the authority's key and no other, and that is not the one that is served with.
    let keys: Vec<&String> =
        secret["data"].as_object().expect("data").keys().filter(|key| key.ends_with("key")).collect();
    assert_eq!(keys, ["current.key"]);
    let authority = rcgen::KeyPair::from_pem(&decoded(&secret, "current.key")).expect("a key");
    let chain = served(&ground, &ground.bundles()[0]).expect("a chain");
    let public = rcgen::PublicKeyData::der_bytes(&authority);
    assert!(!chain[0].as_ref().windows(public.len()).any(|bytes| bytes == public), "served with the authority's key");
    assert!(!controller.log().contains("PRIVATE KEY"));
    // Nothing is open that could be written to, but what it prints to.
    let open = fs::read_dir(format!("/proc/{}/fd", controller.pid())).expect("its files");
    let files: Vec<_> = open
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter(|path| {
            path.is_absolute()
                && !path.starts_with("/dev")
                && !path.starts_with("/proc")
                && path != controller.log_file()
        })
        .collect();
    assert_eq!(files, Vec::<std::path::PathBuf>::new());
}
