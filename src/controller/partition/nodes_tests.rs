use k8s_openapi::jiff::Timestamp;

use super::*;
use crate::store::pods::PodTrouble;

/// A pod by a word a fact: `old` for an earlier revision, `ready` for long or `ready-<seconds>` if it has to be ready
/// for so much longer, `waiting` for one without a running container, `failing`, `going`.
pub(crate) fn node(ordinal: i64, words: &str) -> Node {
    let has = |word: &str| words.split(' ').any(|given| given == word);
    let left = words.split(' ').find_map(|word| word.strip_prefix("ready-"));
    let available_in = left.map(|seconds| Duration::from_secs(seconds.parse().unwrap()));
    let facts = PodFacts {
        uid: format!("uid-{ordinal}"),
        owner: "g-1".to_owned(),
        revision: if has("old") { "r1" } else { "r2" }.to_owned(),
        deleting: has("going"),
        ending: None,
        running: !has("waiting"),
        ready_since: (has("ready") || left.is_some()).then_some(Timestamp::UNIX_EPOCH),
        trouble: has("failing").then(|| PodTrouble {
            reason: "PodCrashing",
            message: "crashes".to_owned(),
            passes: false,
        }),
    };
    let name = format!("g-1-{ordinal}");
    Node { ordinal, name, facts: Arc::new(facts), going: has("going"), available_in }
}

/// Pods 0, 1, ... of a Raft partition that has as many; an empty text is a pod that is missing.
pub(crate) fn nodes(pods: &[&str]) -> Nodes {
    let found = pods.iter().zip(0..).filter(|(words, _)| !words.is_empty());
    Nodes {
        size: i64::try_from(pods.len()).unwrap(),
        min_ready: Duration::from_secs(10),
        rollout: Rollout { observed: true, revision: "r2".to_owned(), ..Rollout::default() },
        replaced: HashMap::new(),
        primary: String::new(),
        pods: found.map(|(words, ordinal)| node(ordinal, words)).collect(),
    }
}
