//! The servers listen for both address families by default, and for IPv4 where there is no IPv6.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use webhook_tests::{StartOptions, binaries, free_port, get};

use crate::support::{SOON, ground};

const OPTIONS: [&str; 3] = ["--webhook-address", "--metrics-address", "--grpc-address"];

/// The address that the option has by default.
fn default_of(option: &str) -> SocketAddr {
    let help = Command::new(binaries::controller().expect("a controller")).args(["run", "--help"]).output();
    let help = String::from_utf8_lossy(&help.expect("its help").stdout).into_owned();
    let (_, rest) = help.split_once(&format!("{option} <")).expect("the option");
    let (_, rest) = rest.split_once("[default: ").expect("a default");
    rest.lines().next().and_then(|line| line.strip_suffix(']')?.parse().ok()).expect("an address")
}

#[test]
fn the_default_addresses_take_ipv4_and_ipv6_and_do_without_ipv6() {
    let ground = ground();
    let shim = ground.control_plane.dir().join("no_ipv6.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/grpc/no_ipv6.c");
    let mut cc = Command::new("cc");
    let made = cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).args([source, "-ldl"]).status();
    assert!(made.expect("a compiler").success());
    let shim = ("LD_PRELOAD".to_owned(), shim.to_string_lossy().into_owned());

    for (environment, has_ipv6) in [(Vec::new(), true), (vec![shim], false)] {
        let ports = OPTIONS.map(|_| free_port());
        let arguments = OPTIONS.iter().zip(ports).map(|(option, port)| {
            let address = SocketAddr::new(default_of(option).ip(), port);
            format!("{option}={address}")
        });
        let options = StartOptions { arguments: arguments.collect(), environment, ..StartOptions::default() };
        let controller = ground.installation.start_with(options).expect("a controller");
        let at = |host: &str, port: u16| format!("{host}:{port}").parse::<SocketAddr>().expect("an address");
        let deadline = Instant::now() + SOON;
        while get(at("127.0.0.1", ports[1]), "/livez").is_err() {
            assert!(Instant::now() < deadline, "{}", controller.log());
            sleep(Duration::from_millis(5));
        }
        for port in ports {
            TcpStream::connect(at("127.0.0.1", port)).expect("IPv4");
            let connected = TcpStream::connect(at("[::1]", port));
            assert_eq!(connected.is_ok(), has_ipv6, "{port}: {connected:?}\n{}", controller.log());
        }
    }
}
