//! What the servers of this process have in common: the listening socket, and the number of files that may be open.

mod accept;
mod files;
mod listen;

pub(crate) use accept::accept;
pub(crate) use files::raise_limit;
pub(crate) use listen::listen;
