//! Names and ports that no other test has.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

fn random() -> u64 {
    // Each RandomState has keys of its own, seeded by the system.
    RandomState::new().hash_one(std::process::id())
}

/// Eight random characters that may end the name of a Kubernetes object.
#[must_use]
pub fn suffix() -> String {
    format!("{:08x}", random() >> 32)
}

/// A loopback TCP port that nobody listens on.
///
/// It is below the range from which the kernel takes the local ports of
/// outgoing connections, so that none of those gets it before its owner listens.
///
/// # Panics
///
/// If 200 random ports are all taken.
#[must_use]
pub fn free_port() -> u16 {
    (0..200)
        .filter_map(|_| u16::try_from(12_000 + random() % 20_000).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port between 12000 and 32000")
}
