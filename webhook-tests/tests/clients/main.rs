//! What clients and nodes see that are not ours: Atomix as it was in autumn 2019 and in January 2020, and grpcurl. They
//! find the controller, and each other, by the names that they have in a cluster.

mod documents;
mod groups;
mod grpcurl;
mod nodes;
mod pod;
mod support;
