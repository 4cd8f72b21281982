//! Rights of the controller's own account, by `SubjectAccessReview`.

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

use super::observation::{Lookup, Rights, TIMEOUT};
use crate::calls::within;
use crate::store::WATCHED;
use crate::tls::{Mode, Names};

const WEBHOOKS: &str = "admissionregistration.k8s.io";

/// The account whose rights are checked, and where it needs them.
pub(super) struct Account<'a> {
    /// Name of the `ServiceAccount`, in the controller's own namespace.
    pub(super) name: &'a str,
    /// A watched namespace; none for all.
    pub(super) namespace: Option<&'a str>,
    /// Source of the certificates.
    pub(super) mode: &'a Mode,
}

impl Account<'_> {
    /// User name of the account.
    fn user(&self, names: &Names) -> String {
        format!("system:serviceaccount:{}:{}", names.namespace(), self.name)
    }

    /// The rights without which no replica becomes ready or leads.
    fn needed(&self, names: &Names) -> Vec<ResourceAttributes> {
        let right = |(group, resource): (&str, &str), verb: &str, namespace: Option<&str>, name: Option<&str>| {
            ResourceAttributes {
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                verb: Some(verb.to_owned()),
                namespace: namespace.map(str::to_owned),
                name: name.map(str::to_owned),
                ..ResourceAttributes::default()
            }
        };
        let (home, configuration) = (Some(names.namespace()), Some(names.configuration()));
        let mut needed = vec![right(("authentication.k8s.io", "selfsubjectreviews"), "create", None, None)];
        let verbs = || ["list", "watch"].into_iter();
        needed.extend(WATCHED.iter().flat_map(|kind| verbs().map(|verb| right(*kind, verb, self.namespace, None))));
        for kind in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
            needed.extend(verbs().map(|verb| right((WEBHOOKS, kind), verb, None, configuration)));
            if *self.mode == Mode::SelfSigned {
                needed.push(right((WEBHOOKS, kind), "patch", None, configuration));
            }
        }
        if *self.mode == Mode::SelfSigned {
            needed.extend(["watch", "update"].map(|verb| right(("", "secrets"), verb, home, Some(&names.secret()))));
        }
        let leases = ("coordination.k8s.io", "leases");
        needed.extend(["watch", "update"].map(|verb| right(leases, verb, home, Some(names.controller()))));
        needed
    }

    /// The needed rights that the account lacks.
    pub(super) async fn missing(&self, client: &Client, names: &Names) -> Lookup<Rights> {
        let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
        let user = self.user(names);
        let asked = self.needed(names).into_iter().map(|right| {
            let spec = SubjectAccessReviewSpec {
                user: Some(user.clone()),
                groups: Some(groups(names.namespace())),
                resource_attributes: Some(right.clone()),
                ..SubjectAccessReviewSpec::default()
            };
            let (reviews, review) = (reviews.clone(), SubjectAccessReview { spec, ..SubjectAccessReview::default() });
            async move {
                let answer = within(TIMEOUT, reviews.create(&PostParams::default(), &review)).await?;
                let allowed = answer.status.is_some_and(|status| status.allowed);
                kube::Result::Ok((!allowed).then(|| text(&right)))
            }
        });
        let answers: kube::Result<Vec<Option<String>>> = join_all(asked).await.into_iter().collect();
        Lookup::from(answers.map(Some)).map(|lacking| Rights { user, missing: lacking.into_iter().flatten().collect() })
    }
}

/// The groups of every `ServiceAccount` of a namespace.
fn groups(namespace: &str) -> Vec<String> {
    let of_namespace = format!("system:serviceaccounts:{namespace}");
    vec!["system:serviceaccounts".to_owned(), of_namespace, "system:authenticated".to_owned()]
}

fn text(right: &ResourceAttributes) -> String {
    let part = |part: &Option<String>| part.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
    let (verb, resource) = (part(&right.verb).unwrap_or_default(), part(&right.resource).unwrap_or_default());
    let group = part(&right.group).map(|group| format!(".{group}")).unwrap_or_default();
    let name = part(&right.name).map(|name| format!(" {name}")).unwrap_or_default();
    let namespace = part(&right.namespace).map(|namespace| format!(" in {namespace}")).unwrap_or_default();
    format!("{verb} {resource}{group}{name}{namespace}")
}
