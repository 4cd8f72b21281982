//! Asks the API server whether it reaches both webhooks and trusts them, by two objects that they always refuse.
//!
//! Two, because the API server does not ask the validating webhook about a set that the mutating one has refused. They
//! are dry runs as well, so that nothing is stored even where no webhook is asked.

use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, Client, Resource};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use super::rotation::Canary;
use crate::api::canary::{ANNOTATION, answer};
use crate::api::{Partition, PartitionSet};
use crate::api_error::{Class, classify, message};
use crate::calls::within;

/// Longest that one answer may take: longer than the API server waits for a webhook.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What was found out, with the reason if it is not what was hoped for.
pub(crate) type Verdict = (Canary, Option<String>);

/// Asks for both webhooks, with canaries in the first of `namespaces` whose objects the API server shows them: some clouds
/// exempt kube-system from all webhooks.
pub(crate) async fn ask(client: Client, namespaces: Vec<String>) -> Verdict {
    let mut first = None;
    for namespace in &namespaces {
        let verdict = ask_in(&client, namespace).await;
        if verdict.0 != Canary::NotAsked {
            return verdict;
        }
        first.get_or_insert(verdict);
    }
    first.unwrap_or_default()
}

/// Asks for both webhooks, with canaries in `namespace`.
pub(crate) async fn ask_in(client: &Client, namespace: &str) -> Verdict {
    let mut bytes = [0; 8];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        return (Canary::Unknown, None);
    }
    let value = format!("{:016x}", u64::from_be_bytes(bytes));
    let (mutating, validating) = tokio::join!(
        one::<PartitionSet>(client, namespace, "mutate", &value),
        one::<Partition>(client, namespace, "validate", &value),
    );
    [mutating, validating].into_iter().max_by_key(|(canary, _)| gravity(*canary)).unwrap_or_default()
}

/// What is worst decides.
fn gravity(canary: Canary) -> u8 {
    match canary {
        Canary::Proven => 0,
        Canary::NotAsked => 1,
        Canary::Unknown => 2,
        Canary::Refused => 3,
    }
}

async fn one<K: Resource<DynamicType = ()>>(client: &Client, namespace: &str, webhook: &str, value: &str) -> Verdict {
    let resource = ApiResource::erase::<K>(&());
    let canaries: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let mut canary = DynamicObject::new(&format!("canary-{value}"), &resource)
        .data(json!({ "spec": { "protocol": "raft", "template": { "spec": { "protocol": "raft" } } } }));
    canary.metadata.annotations = Some([(ANNOTATION.to_owned(), value.to_owned())].into());
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    judge(within(TIMEOUT, canaries.create(&parameters, &canary)).await.map(drop), &answer(webhook, value))
}

/// What an answer to a canary says, if the webhook's own is `expected`.
fn judge(result: kube::Result<()>, expected: &str) -> Verdict {
    match result {
        Err(kube::Error::Api(status)) if status.message.contains(expected) => (Canary::Proven, None),
        Err(error) => {
            let verdict = match classify(&error) {
                // It cannot be called, or is not trusted.
                Class::WebhookFailed => Canary::Refused,
                Class::TooManyRequests | Class::Away => Canary::Unknown,
                _ if matches!(error, kube::Error::Api(_)) => Canary::NotAsked,
                _ => Canary::Unknown,
            };
            (verdict, Some(message(&error).into_owned()))
        }
        Ok(()) => (Canary::NotAsked, Some("the API server took it without asking".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(code: u16, message: &str) -> kube::Result<()> {
        Err(kube::Error::Api(Box::new(Status::failure(message, "Reason").with_code(code))))
    }

    #[test]
    fn only_the_expected_answer_is_a_proof() {
        let expected = answer("mutate", "c0ffee");
        let denied = format!("admission webhook \"x\" denied the request: {expected}");
        assert_eq!(judge(refused(400, &denied), &expected), (Canary::Proven, None));
        for (result, verdict) in [
            (Ok(()), Canary::NotAsked),
            (refused(400, &answer("mutate", "other")), Canary::NotAsked),
            (refused(403, "forbidden by quota"), Canary::NotAsked),
            (refused(500, "Internal error occurred: failed calling webhook \"x\": x509: unknown"), Canary::Refused),
            (refused(429, "slow down"), Canary::Unknown),
            (refused(503, "away"), Canary::Unknown),
        ] {
            let (found, why) = judge(result, &expected);
            assert_eq!(found, verdict, "{why:?}");
            assert!(why.is_some());
        }
    }
}
