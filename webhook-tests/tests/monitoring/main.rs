//! Alert rules, dashboard and metrics page, as a real Prometheus and promtool find them.

mod dashboard;
mod load;
mod log_filter;
mod prometheus;
mod rules;
