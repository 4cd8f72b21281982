//! What several replicas of the controller promise, behind a stand-in for the Service: one restarts, dies or is
//! flooded, and nobody notices.

mod balancing;
mod ends;
mod leadership;
mod load;
mod restarts;
mod strangers;
mod supervision;
mod support;
mod wire;
