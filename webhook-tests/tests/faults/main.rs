//! What the controller survives with nothing lost: it is killed, or what it
//! works with goes away or is spoilt.

mod api;
mod api_server_away;
mod bad_sets;
mod kills;
mod restored_store;
mod support;
mod webhooks_spoilt;
