//! What the documents say of removing, moving and upgrading an installation, done by their commands.

mod removal;
mod support;
