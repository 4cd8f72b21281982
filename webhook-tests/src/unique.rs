//! Names, addresses and ports that no other test has.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

fn random() -> u64 {
    // Each RandomState has keys of its own, seeded by the system.
    RandomState::new().hash_one(std::process::id())
}

/// A loopback address that no other program uses, for programs whose ports are
/// fixed.
#[must_use]
pub fn loopback_address() -> Ipv4Addr {
    let [first, second, third, ..] = random().to_be_bytes();
    // Never 127.0.0.1, and no address that looks like a network's.
    Ipv4Addr::new(127, 1 + first % 254, second, 1 + third % 254)
}

/// Eight random characters that may end the name of a Kubernetes object.
#[must_use]
pub fn suffix() -> String {
    format!("{:08x}", random() >> 32)
}

/// A loopback TCP port that no process listens on, and that no later call gives
/// away, be it of this process or, while this process lives, of another.
///
/// A port is often promised long before its owner listens: the webhook
/// configurations name it while the controller is away. It is below the range
/// from which the kernel takes the local ports of outgoing connections, so that
/// none of those gets it either, and below that of the control planes' own
/// ports.
///
/// # Panics
///
/// If 200 random ports are all taken.
#[must_use]
pub fn free_port() -> u16 {
    (0..200)
        .filter_map(|_| u16::try_from(12_000 + random() % 10_000).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok() && claim(*port))
        .expect("a free port between 12000 and 22000")
}

/// Takes a port's claim: a name in the kernel that goes with this process.
fn claim(port: u16) -> bool {
    static CLAIMS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let claimed = SocketAddr::from_abstract_name(format!("webhook-tests/port/{port}"))
        .and_then(|name| UnixListener::bind_addr(&name));
    let Ok(claimed) = claimed else { return false };
    CLAIMS.lock().unwrap_or_else(PoisonError::into_inner).push(claimed);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_promised_once() {
        let port = free_port();
        assert!(!claim(port), "a second time");
        assert!(claim(11_999), "one that was not promised");
    }
}
