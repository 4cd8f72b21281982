//! The arguments of a benchmark.

use anyhow::{Context, Result};

/// The arguments, without the `--bench` that Cargo adds.
pub fn arguments() -> impl Iterator<Item = String> {
    std::env::args().skip(1).filter(|argument| argument != "--bench")
}

/// The arguments, all of which are numbers.
///
/// # Errors
/// `usage` if one is none.
pub fn numbers(usage: &'static str) -> Result<Vec<u32>> {
    arguments().map(|argument| argument.parse().context(usage)).collect()
}
