//! What the documents say of removing, moving and upgrading an installation, done by their commands.

mod addresses;
mod elsewhere;
mod removal;
mod support;
mod upgrade;
