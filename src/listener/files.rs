//! How many files the process may have open: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard limit and returns it; `None` means no limit. The soft limit protects old
/// programs that cannot handle many files; container runtimes often set 1,024 and half a million.
pub(crate) fn raise_limit() -> Option<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current.map(files);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.map(files),
        Err(error) => {
            tracing::warn!(%error, "raising the limit of open files");
            current.map(files)
        }
    }
}

fn files(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
