//! Any pod can reach the webhooks' port. However many connections and reviews it sends, the API server gets its answers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use webhook_tests::Controller;

use crate::load::{Load, failed, summary};
use crate::support::{Ground, ground};
use crate::wire::{Wire, review};

const MEBIBYTE: usize = 1024 * 1024;

fn ready(ground: &Ground) -> Controller {
    let mut controller = ground.installation.start().expect("a controller");
    controller.wait_ready().expect("ready");
    controller
}

/// A review of a set with annotations, which are given as JSON without the braces.
fn with_annotations(uid: &str, annotations: &str) -> Vec<u8> {
    let text = String::from_utf8(review(uid, 0)).expect("text");
    text.replacen(r#""a":"""#, annotations, 1).into_bytes()
}

/// That the API server gets its answers, many times.
#[track_caller]
fn assert_no_request_fails(ground: &Ground, count: usize) {
    let load = Load::start(&ground.control_plane, 4);
    load.await_answers(count);
    let sent = load.finish();
    println!("with strangers: {}", summary(&sent));
    assert!(failed(&sent).is_empty(), "{:#?}", failed(&sent)[0]);
}

#[test]
fn two_thousand_half_open_connections_do_not_keep_the_api_server_out() {
    let ground = ground();
    let controller = ready(&ground);
    let address = controller.webhook_addr();
    let wire = Wire::new(&ground);
    let mut silent = Vec::new();
    let mut slow = Vec::new();
    let beginning = |bytes: &[u8]| {
        let mut connection = wire.connect(address)?;
        connection.send(bytes).map(|()| connection)
    };
    for number in 0..2000 {
        if number % 2 == 0 {
            silent.extend(TcpStream::connect(address));
        } else if number % 40 == 1 {
            slow.extend(beginning(b"POST /mutate HTTP/1.1\r\nHost:"));
        } else if number % 40 == 21 {
            let head = "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
            slow.extend(beginning(format!("{head}Content-Length: 30000\r\n\r\n{{").as_bytes()));
        } else {
            silent.extend(TcpStream::connect(address).and_then(|mut stream| {
                // The beginning of a handshake.
                stream.write_all(&[22, 3, 1, 2, 0, 1]).map(|()| stream)
            }));
        }
    }
    assert!(silent.len() > 1500, "only {} connections", silent.len());
    assert!(slow.len() > 90, "only {} slow requests", slow.len());
    assert_no_request_fails(&ground, 100);
    let open = silent.iter_mut().filter_map(|stream| {
        stream.set_read_timeout(Some(Duration::from_millis(1))).ok()?;
        (!matches!(stream.read(&mut [0]), Ok(0))).then_some(())
    });
    println!("half-open connections that are left: {}", open.count());
    assert!(controller.get("/livez").is_ok_and(|answer| answer.status == 200));
}

#[test]
fn ten_times_the_large_reviews_that_there_is_room_for_get_answers_that_ask_to_try_again() {
    let ground = ground();
    let controller = ready(&ground);
    let wire = Wire::new(&ground);
    let address = controller.webhook_addr();
    // Two at a time are decided, in some tenths of a second each.
    let many: Vec<String> = (0..150_000).map(|number| format!(r#""k{number:06}":"""#)).collect();
    let heavy = with_annotations("heavy", &many.join(","));
    let start = Barrier::new(40);
    let (mut rejected, mut throttled, mut decided) = (0, 0, 0);
    let answers = thread::scope(|scope| {
        let senders: Vec<_> = (0..40)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = wire.connect(address).expect("a connection");
                    start.wait();
                    connection.post("/mutate?timeout=5s", &heavy)
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().expect("a sender")).collect::<Vec<_>>()
    });
    for answer in answers {
        let answer = answer.expect("an answer");
        if answer.status == 503 {
            assert!(answer.body.contains("try again"), "{answer:?}");
            rejected += 1;
            continue;
        }
        let response = answer.response();
        assert_eq!(response["uid"], "heavy");
        if response["status"]["code"] == 429 {
            assert_eq!(response["status"]["reason"], "TooManyRequests");
            assert_eq!(response["status"]["details"]["retryAfterSeconds"], 1);
            throttled += 1;
        } else {
            decided += 1;
        }
    }
    let resident = controller.rss_bytes() / 1_000_000;
    println!("overload: {decided} decided, {throttled} throttled, {rejected} rejected; {resident} MB resident");
    assert!(throttled + rejected > 0, "there was room for all of them");
    assert!(controller.rss_bytes() < 256 * MEBIBYTE as u64, "{} bytes", controller.rss_bytes());
    // When the overload is over, such a review is decided again.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut connection = wire.connect(address).expect("a connection");
        let answer = connection.post("/mutate?timeout=30s", &heavy).expect("an answer");
        if answer.status == 200 && answer.body.contains(r#""allowed":true"#) {
            break;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        thread::sleep(Duration::from_secs(1));
    }
    assert_no_request_fails(&ground, 50);
}

#[test]
fn a_review_that_would_fill_the_memory_is_denied_unread() {
    let ground = ground();
    let controller = ready(&ground);
    let wire = Wire::new(&ground);
    let body = with_annotations("bomb", &format!(r#""a":[{}0]"#, r#"{"":0},"#.repeat(900_000)));
    assert!(body.len() > 6 * MEBIBYTE);
    for path in ["/mutate", "/validate"] {
        let mut connection = wire.connect(controller.webhook_addr()).expect("a connection");
        let response = connection.post(path, &body).expect("an answer").response();
        assert_eq!((&response["uid"], &response["status"]["code"]), (&"bomb".into(), &413.into()));
    }
    assert!(controller.rss_bytes() < 128 * MEBIBYTE as u64, "{} bytes", controller.rss_bytes());
}

#[test]
fn a_process_without_file_descriptors_waits_for_some_and_goes_on() {
    let ground = ground();
    let controller = ready(&ground);
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", controller.pid())).expect("a list").count();
    let limit = format!("--nofile={}:", descriptors + 4);
    let pid = format!("--pid={}", controller.pid());
    assert!(Command::new("prlimit").args([&pid, &limit]).status().expect("prlimit").success());
    let connections: Vec<_> = (0..50).filter_map(|_| TcpStream::connect(controller.webhook_addr()).ok()).collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !controller.log().contains("accepting a connection") {
        assert!(Instant::now() < deadline, "there were enough: {}", controller.log());
        thread::sleep(Duration::from_millis(5));
    }
    drop(connections);
    assert!(Command::new("prlimit").args([&pid, "--nofile=1024:"]).status().expect("prlimit").success());
    assert_no_request_fails(&ground, 20);
    let complaints = controller.log().matches("accepting a connection").count();
    assert!(complaints < 100, "{complaints} times");
}
