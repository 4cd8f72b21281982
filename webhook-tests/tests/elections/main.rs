//! Elections over gRPC, on a real control plane: what is promised of them, and what they survive.

mod faults;
mod promises;
mod random;
mod record;
mod support;
