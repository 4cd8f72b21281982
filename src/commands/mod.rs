//! The commands beside `run`: each is a program of its own that ends.

pub mod check;
pub mod groups;
pub mod validate;
