//! HTTP/2 as it is on the wire, for clients that no library would be, and ordinary clients beside them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use webhook_tests::{Controller, StartOptions, binaries, free_port};

use crate::support::{SOON, ground};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ACK: u8 = 1;

/// Runs `atomix-controller groups` against a controller: its exit code, and what it printed.
pub fn groups(controller: &Controller, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(binaries::controller().expect("the controller"))
        .arg("groups")
        .args(arguments)
        .env("ATOMIX_CONTROLLER", controller.grpc_addr().to_string())
        .stdin(Stdio::null())
        .output()
        .expect("a run");
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code().expect("an exit code"), String::from_utf8_lossy(&printed).into_owned())
}

/// Asks until the answer is as wanted: no event announces it.
#[track_caller]
pub fn await_true(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// One more controller, with these arguments.
pub fn start(arguments: &[&str]) -> Controller {
    start_with(StartOptions {
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        ..StartOptions::default()
    })
}

/// As [`start`], with more options.
pub fn start_with(options: StartOptions) -> Controller {
    let mut controller = launch(options);
    controller.wait_ready().expect("a ready controller");
    controller
}

/// As [`start_with`], without waiting until it is ready.
pub fn launch(options: StartOptions) -> Controller {
    let options = StartOptions { webhook_port: Some(free_port()), ..options };
    // What is waited for there may not be waited for within a test's own runtime.
    let installation = thread::spawn(|| ground().installation).join().expect("the ground");
    installation.start_with(options).expect("a controller")
}

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A block of headers, none of them compressed.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        let mut encoded = Vec::new();
        match u8::try_from(text.len()) {
            Ok(length) if length < 127 => encoded.push(length),
            _ => {
                encoded.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    encoded.push(u8::try_from(rest % 128).expect("seven bits") | 128);
                    rest /= 128;
                }
                encoded.push(u8::try_from(rest).expect("seven bits"));
            }
        }
        encoded.extend(text.as_bytes());
        encoded
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// The headers of a call.
pub fn head(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    block(&[&fields, more].concat())
}

pub const CHECK: &str = "/grpc.health.v1.Health/Check";
pub const WATCH: &str = "/grpc.health.v1.Health/Watch";
pub const GET: &str = "/atomix.controller.ControllerService/GetPartitionGroups";

/// An empty message as gRPC sends it.
pub const EMPTY: &[u8] = &[0; 5];

/// A connection whose client does as it pleases.
pub struct Raw(pub TcpStream);

impl Raw {
    /// Connects and says nothing.
    pub fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        stream.set_write_timeout(Some(SOON)).expect("a timeout");
        Self(stream)
    }

    /// Connects and says that it speaks HTTP/2.
    pub fn open(address: SocketAddr) -> Self {
        let mut raw = Self::silent(address);
        raw.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).expect("sent");
        raw
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// The next frame that is about a call, or the end: its kind, flags, stream and payload. Pings and settings are
    /// answered.
    pub fn frame(&mut self) -> io::Result<(u8, u8, u32, Vec<u8>)> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head)?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let mut payload = vec![0; usize::try_from(length).expect("a length")];
            self.0.read_exact(&mut payload)?;
            match head[3] {
                PING if head[4] & ACK == 0 => self.send(&frame(PING, ACK, 0, &payload))?,
                SETTINGS if head[4] & ACK == 0 => self.send(&frame(SETTINGS, ACK, 0, &[]))?,
                PING | SETTINGS | WINDOW_UPDATE => {}
                kind => return Ok((kind, head[4], stream, payload)),
            }
        }
    }

    /// Reads until a frame of that kind; what else there was is forgotten.
    pub fn until(&mut self, kind: u8) -> io::Result<(u8, u32, Vec<u8>)> {
        loop {
            let (found, flags, stream, payload) = self.frame()?;
            if found == kind {
                return Ok((flags, stream, payload));
            }
        }
    }

    /// Waits until the server closes it, without another word.
    #[track_caller]
    pub fn dropped(mut self) {
        let deadline = Instant::now() + SOON;
        let mut said = [0; 1024];
        while self.0.read(&mut said).is_ok_and(|bytes| bytes > 0) {}
        assert!(Instant::now() < deadline, "still open");
    }

    /// Waits until the server closes it, although the client answers its pings.
    #[track_caller]
    pub fn closed(mut self) {
        let deadline = Instant::now() + SOON;
        while self.frame().is_ok() {}
        assert!(Instant::now() < deadline, "still open");
    }
}

/// The value of one line of the metrics, 0 if there is none.
pub fn metric(controller: &Controller, line: &str) -> u64 {
    let metrics = controller.get("/metrics").expect("metrics").body;
    let found = metrics.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
    found.unwrap_or_default()
}

/// Waits until a line of the metrics has such a value.
#[track_caller]
pub fn await_metric(controller: &Controller, line: &str, wanted: impl Fn(u64) -> bool) {
    let deadline = Instant::now() + SOON;
    while !wanted(metric(controller, line)) {
        assert!(Instant::now() < deadline, "{line} {}", metric(controller, line));
        thread::sleep(Duration::from_millis(10));
    }
}
