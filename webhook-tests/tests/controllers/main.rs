//! What the controllers promise, on a real API server: the objects of a set,
//! that they stay as they are, and what people see of it all.

mod adoption;
mod changes;
mod children;
mod claims;
mod clocks;
mod deletion;
mod examples;
mod healing;
mod manifest;
mod names;
mod ownership;
mod pod_restarts;
mod pods;
mod progress;
mod rbac;
mod refusals;
mod removals;
mod restarts;
mod restore;
mod rolling;
mod rollout;
mod services;
mod shrinking;
mod status;
mod steady;
mod support;
mod takeover;
mod tls;
mod upgrade;
