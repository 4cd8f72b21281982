//! `status.election` of a Partition: the record by which the replicas of the controller agree on a primary.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// The primary of a partition's nodes. The controller writes it when nodes enter or leave an election over the Atomix API.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = schema::election()))]
pub struct ElectionStatus {
    /// Number of the term. It grows by one with each new primary and never falls.
    #[schemars(extend("minimum" = 0))]
    pub term: i64,
    /// Member that is the primary of this term, empty if the term has ended and no other has begun.
    #[schemars(length(max = 63))]
    pub primary: String,
    /// Candidates, in the order in which they entered the election, the primary first.
    #[schemars(extend("maxItems" = 21, "x-kubernetes-list-type" = "set"), inner(length(max = 63)))]
    pub candidates: Vec<String>,
    /// The stream of each candidate, as `<replica of the controller>/<number>`: a member that enters anew is
    /// another candidate.
    #[schemars(extend("maxProperties" = 21, "additionalProperties" = {"type": "string", "maxLength": 64}))]
    pub streams: BTreeMap<String, String>,
}
