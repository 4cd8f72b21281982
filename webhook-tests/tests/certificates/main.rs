//! The webhooks' certificates look after themselves: authorities follow each other without anybody noticing, and what
//! people and other programs spoil is put right. Those that others make are followed.

mod alerts;
mod bundles;
mod check;
mod clients;
mod clocks;
mod exempt;
mod given;
mod hardened;
mod killed;
#[path = "../replicas/load.rs"]
mod load;
mod pki;
mod protocol;
mod rotation;
mod secret;
mod start;
mod support;
mod takeover;
mod wire;
