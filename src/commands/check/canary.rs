//! Finds out whether the API server reaches both webhooks and trusts them, with two objects that the webhooks always refuse.
//!
//! Two, because the API server does not call the validating webhook for a set that the mutating one has refused. They are
//! dry runs, so that nothing is stored where no webhook is called.

use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, Client, Resource};
use ring::rand::{self, SystemRandom};
use serde_json::json;

use crate::api::canary::{ANNOTATION, answer};
use crate::api::{Partition, PartitionSet};
use crate::api_error::{Class, classify, message};
use crate::calls::within;

/// Longest that one answer may take: longer than the API server waits for a webhook.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Whether an API server reaches both webhooks and trusts them. What is worse is greater: the worst of two results counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Canary {
    /// Both webhooks were reached.
    Proven,
    /// The API server did not call the webhooks: something before them has answered.
    NotAsked,
    /// No API server could be asked.
    #[default]
    Unknown,
    /// The API server could not call a webhook, or does not trust it.
    Refused,
}

/// A result, with the reason if the webhooks were not reached.
pub(super) type Verdict = (Canary, Option<String>);

/// Sends a canary for each webhook to `namespace`.
pub(super) async fn send(client: &Client, namespace: &str) -> Verdict {
    let Ok(random) = rand::generate(&SystemRandom::new()) else { return (Canary::Unknown, None) };
    let value = format!("{:016x}", u64::from_be_bytes(random.expose()));
    let (mutating, validating) = tokio::join!(
        one::<PartitionSet>(client, namespace, "mutate", &value),
        one::<Partition>(client, namespace, "validate", &value),
    );
    if mutating.0 > validating.0 { mutating } else { validating }
}

async fn one<K: Resource<DynamicType = ()>>(client: &Client, namespace: &str, webhook: &str, value: &str) -> Verdict {
    let resource = ApiResource::erase::<K>(&());
    let canaries: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let mut canary = DynamicObject::new(&format!("canary-{value}"), &resource)
        .data(json!({ "spec": { "protocol": "raft", "template": { "spec": { "protocol": "raft" } } } }));
    canary.metadata.annotations = Some([(ANNOTATION.to_owned(), value.to_owned())].into());
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    verdict(within(TIMEOUT, canaries.create(&parameters, &canary)).await.map(drop), &answer(webhook, value))
}

/// What the API server's answer to a canary shows, if the webhook answers `expected`.
fn verdict(result: kube::Result<()>, expected: &str) -> Verdict {
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
        assert_eq!(verdict(refused(400, &denied), &expected), (Canary::Proven, None));
        for (result, verdict) in [
            (Ok(()), Canary::NotAsked),
            (refused(400, &answer("mutate", "other")), Canary::NotAsked),
            (refused(403, "forbidden by quota"), Canary::NotAsked),
            (refused(500, "Internal error occurred: failed calling webhook \"x\": x509: unknown"), Canary::Refused),
            (refused(429, "slow down"), Canary::Unknown),
            (refused(503, "away"), Canary::Unknown),
        ] {
            let (found, why) = super::verdict(result, &expected);
            assert_eq!(found, verdict, "{why:?}");
            assert!(why.is_some());
        }
    }
}
