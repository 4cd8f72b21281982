//! A hostile client takes little of the server, and others are answered.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use webhook_tests::Controller;

use crate::wire::{
    CHECK, CONTINUATION, DATA, EMPTY, END_HEADERS, END_STREAM, GET, HEADERS, PING, PREFACE, RST_STREAM, Raw, SETTINGS,
    WATCH, await_metric, await_true, frame, head, metric, start,
};

/// More than the pod's idle needs, and far less than it may have.
const FLOODED: u64 = 128 << 20;
const MIB: u64 = 1 << 20;

/// One controller for all of them, for one at a time: they look at its memory.
fn controller() -> MutexGuard<'static, Controller> {
    static CONTROLLER: OnceLock<Mutex<Controller>> = OnceLock::new();
    let controller = CONTROLLER.get_or_init(|| Mutex::new(start(&[])));
    controller.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks for the server's health as anybody would; says whether there was an answer, and no refusal.
#[track_caller]
fn answered(address: SocketAddr) -> bool {
    let mut raw = Raw::open(address);
    let call = [frame(HEADERS, END_HEADERS, 1, &head(CHECK, &[])), frame(DATA, END_STREAM, 1, EMPTY)].concat();
    raw.send(&call).expect("sent");
    let (kind, flags, ..) = raw.frame().expect("an answer");
    assert_eq!(kind, HEADERS);
    if flags & END_STREAM != 0 {
        return false;
    }
    // One field of one byte: it is serving.
    assert_eq!(raw.until(DATA).expect("an answer").2, [0, 0, 0, 0, 2, 8, 1]);
    true
}

/// The same, at once; says how long it took.
#[track_caller]
fn answers(address: SocketAddr) -> Duration {
    let asked = Instant::now();
    assert!(answered(address), "refused");
    asked.elapsed()
}

#[test]
fn a_thousand_connections_that_are_not_used_cost_little_and_nobody_else_waits() {
    let controller = controller();
    let address = controller.grpc_addr();
    let before = controller.rss_bytes();
    let idle: Vec<_> = (0..1000).map(|_| Raw::open(address)).collect();
    await_metric(&controller, "atomix_grpc_connections", |count| count >= 1000);
    let each = controller.rss_bytes().saturating_sub(before) / 1000;
    let waited = answers(address);
    println!("{each} bytes for each idle connection; answered beside them in {waited:?}");
    assert!(each < 64 * 1024, "{each} bytes each");
    drop(idle);
    await_metric(&controller, "atomix_grpc_connections", |count| count < 100);
}

#[test]
fn what_is_no_http_2_ends_the_connection() {
    let controller = controller();
    let address = controller.grpc_addr();
    let garbage = vec![0xA5; 64 * 1024];
    for said in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &garbage, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"] {
        let mut raw = Raw::silent(address);
        // It may be closed before all was said.
        let _ = raw.send(said);
        raw.closed();
    }
    let broken = [
        frame(DATA, 0, 0, b"data of no stream"),
        frame(PING, 0, 0, b"short"),
        frame(SETTINGS, 0, 0, &[1]),
        frame(HEADERS, END_HEADERS, 1, &[0xFF; 64]),
        frame(HEADERS, END_HEADERS, 2, &head(CHECK, &[])),
        frame(CONTINUATION, 0, 1, &[]),
        [&[0xFF, 0xFF, 0xFF, DATA, 0, 0, 0, 0, 1], &garbage[..]].concat(),
    ];
    for said in broken {
        let mut raw = Raw::open(address);
        let _ = raw.send(&said);
        raw.closed();
    }
    answers(address);
}

#[test]
fn who_says_nothing_or_half_of_the_preface_is_dropped_within_seconds() {
    let controller = controller();
    let address = controller.grpc_addr();
    let asked = Instant::now();
    let mut half = Raw::silent(address);
    half.send(&PREFACE[..20]).expect("sent");
    Raw::silent(address).dropped();
    half.dropped();
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
}

#[test]
fn huge_headers_are_refused_and_not_kept() {
    let controller = controller();
    let address = controller.grpc_addr();
    let before = controller.rss_bytes();
    // More than a list of headers may have, within one frame's length.
    let mut raw = Raw::open(address);
    let long = "y".repeat(15_000);
    raw.send(&frame(HEADERS, 0, 1, &head(GET, &[("x", &long)]))).expect("sent");
    raw.send(&frame(CONTINUATION, END_HEADERS, 1, &crate::wire::block(&[("x", &long)]))).expect("sent");
    // 431, which HPACK can only spell out, or the end of the stream.
    let (kind, ..) = raw.frame().expect("an answer");
    assert!([HEADERS, RST_STREAM].contains(&kind), "{kind}");
    // Headers without an end, from many at once.
    for _ in 0..50 {
        let mut raw = Raw::open(address);
        let _ = raw.send(&frame(HEADERS, 0, 1, &head(GET, &[])));
        let more = frame(CONTINUATION, 0, 1, &crate::wire::block(&[("x", &long)]));
        let endless = (0..10_000).find(|_| raw.send(&more).is_err());
        assert!(endless.is_some(), "150 MB of headers were taken");
    }
    let grown = controller.rss_bytes().saturating_sub(before) / MIB;
    assert!(grown < 32, "{grown} MiB more");
    answers(address);
}

#[test]
fn huge_and_endless_messages_are_refused_and_not_kept() {
    let controller = controller();
    let address = controller.grpc_addr();
    let before = controller.rss_bytes();
    let refused = r#"atomix_grpc_requests_total{method="GetPartitionGroups",code="OUT_OF_RANGE"}"#;
    let piece = frame(DATA, 0, 1, &[b'x'; 16 * 1024]);
    let mut flooders = Vec::new();
    for count in 1..=20 {
        let mut raw = Raw::open(address);
        raw.send(&frame(HEADERS, END_HEADERS, 1, &head(GET, &[]))).expect("sent");
        // 4 GiB, it says.
        raw.send(&frame(DATA, 0, 1, &[0, 0xFF, 0xFF, 0xFF, 0xFF])).expect("sent");
        await_metric(&controller, refused, |refused| refused >= count);
        flooders.push(raw);
    }
    for mut raw in flooders {
        // And goes on for ever, whatever the answer was.
        assert!((0..10_000).any(|_| raw.send(&piece).is_err()), "160 MB were taken");
    }
    let grown = controller.rss_bytes().saturating_sub(before) / MIB;
    assert!(grown < 32, "{grown} MiB more");
    answers(address);
}

#[test]
fn slow_requests_by_the_thousand_take_little_memory_and_keep_others_waiting_for_seconds_only() {
    let controller = controller();
    let address = controller.grpc_addr();
    let refused = r#"atomix_grpc_requests_total{method="GetPartitionGroups",code="UNAVAILABLE"}"#;
    let before = metric(&controller, refused);
    // Half of a request of 60 KB, on each of a hundred streams of forty connections.
    let half = [&[0, 0, 0, 0xEA, 0x60], &[b'x'; 400][..]].concat();
    let mut slow = Vec::new();
    for _ in 0..40 {
        let mut raw = Raw::open(address);
        for stream in (0..100).map(|number| 2 * number + 1) {
            let begun = [frame(HEADERS, END_HEADERS, stream, &head(GET, &[])), frame(DATA, 0, stream, &half)].concat();
            raw.send(&begun).expect("sent");
        }
        slow.push(raw);
    }
    // Four thousand are more than are answered at a time: others are refused at once.
    await_metric(&controller, refused, |count| count >= before + 500);
    // So may another client be, until the half requests have timed out.
    let asked = Instant::now();
    await_true("an answer", || answered(address));
    let waited = asked.elapsed();
    let memory = controller.rss_bytes();
    println!("{} MiB resident with 4,000 half requests; answered beside them in {waited:?}", memory / MIB);
    assert!(memory < FLOODED, "{} MiB", memory / MIB);
}

/// The streams of many clients of a mesh come over one connection.
#[test]
fn quick_cancels_of_one_client_do_not_end_the_streams_of_others_on_the_same_connection() {
    let controller = controller();
    let mut mesh = Raw::open(controller.grpc_addr());
    let begin = |path: &str, stream| {
        let headers = frame(HEADERS, END_HEADERS, stream, &head(path, &[]));
        [headers, frame(DATA, END_STREAM, stream, EMPTY)].concat()
    };
    mesh.send(&begin(WATCH, 1)).expect("sent");
    let (_, of, _) = mesh.until(DATA).expect("a first message");
    assert_eq!(of, 1);
    let cancelled = |stream: u32| [begin(GET, stream), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat();
    let cancels: Vec<u8> = (1..=100).flat_map(|number| cancelled(2 * number + 1)).collect();
    mesh.send(&cancels).expect("sent");
    mesh.send(&begin(CHECK, 301)).expect("sent");
    loop {
        let (kind, _, of, payload) = mesh.frame().expect("the connection goes on");
        assert!(of != 1, "the stream of another ended: {kind} {payload:?}");
        if (kind, of) == (DATA, 301) {
            break;
        }
    }
}

#[test]
fn floods_of_streams_settings_and_pings_end_or_are_held_back() {
    let controller = controller();
    let address = controller.grpc_addr();
    // Begun and reset, again and again.
    let mut resets = Raw::open(address);
    let mut ended = false;
    for stream in (0..100_000).map(|number| 2 * number + 1) {
        let call = [
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(GET, &[])),
            frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()),
        ];
        if resets.send(&call.concat()).is_err() {
            ended = true;
            break;
        }
    }
    assert!(ended, "100,000 resets were taken");
    // More streams than there is room for, of which none goes on.
    let mut streams = Raw::open(address);
    for stream in (0..12_000).map(|number| 2 * number + 1) {
        let _ = streams.send(&frame(HEADERS, END_HEADERS, stream, &head(GET, &[])));
    }
    // Who reads no answers is read no more.
    for said in [frame(PING, 0, 0, b"pingping"), frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])] {
        let mut raw = Raw::open(address);
        raw.0.set_write_timeout(Some(Duration::from_secs(2))).expect("a timeout");
        let many = said.repeat(1000);
        let mut taken = 0_u64;
        while taken < 256 * MIB && raw.send(&many).is_ok() {
            taken += u64::try_from(many.len()).expect("a length");
        }
        assert!(taken < 256 * MIB, "{taken} bytes of it were taken");
    }
    let memory = controller.rss_bytes();
    assert!(memory < FLOODED, "{} MiB", memory / MIB);
    answers(address);
}
