//! The commands beside `run`. Each has its options, and a function `run` that prints to standard output and returns the
//! exit code.

pub mod check;
pub mod completions;
pub mod crds;
pub mod groups;
mod kubeconfig;
pub mod man;
pub mod status;
mod table;
pub mod validate;
