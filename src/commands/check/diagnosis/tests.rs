use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use super::super::observation::{Served, Webhook};
use super::super::report::Outcome;
use super::*;
use crate::commands::check::canary::Canary;
use crate::tls::authority::Authority;
use crate::tls::source::Source;
use crate::tls::{Mode, Periods, stored};

fn names() -> Names {
    Names::new("keeper", "home", "x")
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000)
}

/// An installation in which nothing is wrong, and its CA.
fn healthy() -> (Observation, Authority) {
    let authority = Authority::mint(&names(), 3, &Periods::default(), now()).unwrap();
    let chain = authority.leaf(&names(), &Periods::default(), now()).unwrap().chain;
    let secret = Secret { data: Some(stored::render(&authority)), ..Secret::default() };
    let webhook = |name: &str| Webhook {
        name: name.to_owned(),
        bundle: authority.bundle().into_bytes(),
        service: Some(("home".to_owned(), "keeper".to_owned(), 443)),
        namespace: None,
    };
    let service = json!({"spec": {"selector": {"app": "k"}, "ports": [{"port": 443}]}});
    let slice = json!({"addressType": "IPv4", "endpoints": [
        {"addresses": ["10.0.0.1"], "conditions": {"ready": true}}, {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
    ]});
    let observed = Observation {
        rights: Lookup::Found(Rights { user: "system:serviceaccount:home:keeper".to_owned(), missing: Vec::new() }),
        mode: Mode::SelfSigned,
        secret: Lookup::Found(secret),
        service: Lookup::Found(serde_json::from_value(service).unwrap()),
        slices: Lookup::Found(vec![serde_json::from_value(slice).unwrap()]),
        configurations: [Lookup::Found(vec![webhook("m")]), Lookup::Found(vec![webhook("v"), webhook("w")])],
        served: Served::Chain("10.1.1.1:443".to_owned(), chain),
        canary: (Canary::Proven, None),
        exempt: None,
    };
    (observed, authority)
}

fn found(observed: &Observation, layer: &str) -> (Outcome, String) {
    let finding =
        diagnose(observed, &names(), now()).layers.into_iter().find(|finding| finding.layer == layer).unwrap();
    (finding.outcome, finding.to_string())
}

/// That this layer is the only one that is not as it should be, and what is said of it.
#[track_caller]
fn only(observed: &Observation, layer: &str, outcome: Outcome, says: &str) {
    let report = diagnose(observed, &names(), now());
    let odd: Vec<_> = report.layers.iter().filter(|finding| finding.outcome != Outcome::Ok).collect();
    assert!(odd.len() == 1 && odd[0].layer == layer && odd[0].outcome == outcome, "{report}");
    assert!(odd[0].to_string().contains(says), "{report}");
    assert_eq!(odd[0].remedy.is_some(), outcome == Outcome::Failed, "{report}");
    assert_eq!(report.ok, outcome != Outcome::Failed);
}

#[test]
fn nothing_is_wrong_with_what_is_right() {
    let (observed, _) = healthy();
    let report = diagnose(&observed, &names(), now());
    assert!(report.ok && report.layers.iter().all(|finding| finding.outcome == Outcome::Ok), "{report}");
    let text = report.to_string();
    assert!(text.contains("holds CA 3, stable, valid until 2033-08-16T03:33:20Z"), "{text}");
    assert!(text.contains("keeper has 1 ready endpoints") && text.contains("(2 of 2 webhooks)"), "{text}");
}

#[test]
fn a_namespace_that_is_exempt_from_webhooks_is_named_and_no_fault() {
    let (mut observed, _) = healthy();
    observed.exempt = Some("home".to_owned());
    let (outcome, text) = found(&observed, "reachability");
    assert!(outcome == Outcome::Ok && text.contains("does not call them for objects of home"), "{text}");
}

#[test]
fn a_right_that_the_controller_lacks_is_named() {
    let (mut observed, _) = healthy();
    if let Lookup::Found(rights) = &mut observed.rights {
        rights.missing = vec!["create selfsubjectreviews".to_owned(), "watch pods".to_owned()];
    }
    let says = "system:serviceaccount:home:keeper may not create selfsubjectreviews, watch pods. To do: apply";
    only(&observed, "rights", Outcome::Failed, says);
    observed.rights = Lookup::Forbidden("no reviews".to_owned());
    only(&observed, "rights", Outcome::Skipped, "forbidden: no reviews");
}

#[test]
fn what_is_wrong_with_the_secret_is_said() {
    let (mut observed, _) = healthy();
    let set = |observed: &mut Observation, data: stored::Data| {
        observed.secret = Lookup::Found(Secret { data: Some(data), ..Secret::default() });
    };
    set(&mut observed, stored::Data::new());
    only(&observed, "secret", Outcome::Failed, "keeper-webhook-ca is empty");
    set(&mut observed, [("current.crt".to_owned(), ByteString(b"x".to_vec()))].into());
    only(&observed, "secret", Outcome::Failed, "is damaged: generation is missing");
    let old = Authority::mint(&names(), 3, &Periods::default(), now() - Duration::from_secs(200 * 86400)).unwrap();
    set(&mut observed, stored::render(&old));
    only(&observed, "secret", Outcome::Failed, "is not valid now");
    observed.secret = Lookup::Missing;
    only(&observed, "secret", Outcome::Failed, "kubectl -n home create secret generic keeper-webhook-ca");
    observed.secret = Lookup::Forbidden("secrets is forbidden".to_owned());
    only(&observed, "secret", Outcome::Skipped, "forbidden: secrets");
    observed.mode = Mode::Provided(Source::Files("/certificates".into()));
    only(&observed, "secret", Outcome::Skipped, "in /certificates");
}

#[test]
fn a_provided_pair_is_checked_as_the_controller_does() {
    let (mut observed, authority) = healthy();
    observed.mode = Mode::Provided(Source::Secret("given".to_owned()));
    // A CA and its key are a pair, too, but not one to serve.
    let (data, mut given) = (stored::render(&authority), Secret::default());
    given.data = Some(
        [("tls.crt", "current.crt"), ("tls.key", "current.key")]
            .map(|(to, from)| (to.to_owned(), data[from].clone()))
            .into(),
    );
    observed.secret = Lookup::Found(given.clone());
    assert_eq!(found(&observed, "secret").0, Outcome::Ok);
    given.data.as_mut().unwrap().remove("tls.key");
    observed.secret = Lookup::Found(given);
    only(&observed, "secret", Outcome::Failed, "tls.key is missing");
    observed.secret = Lookup::Missing;
    only(&observed, "secret", Outcome::Failed, "there is no secret:given in home");
}

#[test]
fn each_bundle_is_compared_with_what_is_served_or_else_with_the_secret() {
    let (healthy, authority) = healthy();
    let other = Authority::mint(&names(), 3, &Periods::default(), now()).unwrap();
    for (bundle, served, secret) in [
        ("", "has no certificate that can be read", "has no certificate that can be read"),
        ("garbage", "has no certificate that can be read", "has no certificate that can be read"),
        (&*other.bundle(), "does not lead to what is served", "is not the CA of the Secret"),
    ] {
        for (index, layer) in ["mutating-bundle", "validating-bundle"].into_iter().enumerate() {
            let mut observed = healthy.clone();
            if let Lookup::Found(webhooks) = &mut observed.configurations[index] {
                webhooks.last_mut().unwrap().bundle = bundle.as_bytes().to_vec();
            }
            only(&observed, layer, Outcome::Failed, served);
            observed.served = Served::NoAddress;
            let (outcome, text) = found(&observed, layer);
            assert!(outcome == Outcome::Failed && text.contains(secret), "{text}");
            let name = ["m", "w"][index];
            assert!(text.contains(&format!("caBundle of {name}:")), "{text}");
        }
    }
    let mut observed = healthy;
    observed.served = Served::NoAddress;
    assert_eq!(found(&observed, "mutating-bundle").0, Outcome::Ok);
    observed.secret = Lookup::Missing;
    assert_eq!(found(&observed, "mutating-bundle").0, Outcome::Skipped);
    observed.configurations[0] = Lookup::Missing;
    assert!(found(&observed, "mutating-bundle").1.contains("no set is validated"));
    observed.configurations[0] = Lookup::Found(Vec::new());
    assert!(found(&observed, "mutating-bundle").1.contains("has no webhooks"));
    // In the midst of a rotation both are right.
    let published = authority.published(&names(), &Periods::default(), now()).unwrap();
    assert!(published.bundle().starts_with(&authority.bundle()));
}

#[test]
fn a_service_needs_the_port_and_ready_endpoints() {
    let (mut observed, _) = healthy();
    let slices = observed.slices.clone();
    observed.slices = Lookup::Found(Vec::new());
    only(&observed, "service", Outcome::Failed, "kubectl -n home describe pods -l app=k");
    observed.slices = Lookup::Forbidden("no list".to_owned());
    only(&observed, "service", Outcome::Skipped, "its endpoints are forbidden: no list");
    observed.slices = slices;
    if let Lookup::Found(webhooks) = &mut observed.configurations[1] {
        webhooks[1].service = Some(("home".to_owned(), "keeper".to_owned(), 8443));
    }
    only(&observed, "service", Outcome::Failed, "webhook w calls port 8443");
    if let Lookup::Found(webhooks) = &mut observed.configurations[1] {
        webhooks[1].service = Some(("other".to_owned(), "keeper".to_owned(), 443));
    }
    only(&observed, "service", Outcome::Failed, "webhook w calls the Service keeper in other");
    observed.service = Lookup::Missing;
    only(&observed, "service", Outcome::Failed, "there is no Service keeper in home");
}

#[test]
fn what_is_served_has_to_be_for_the_service_and_valid() {
    let (mut observed, authority) = healthy();
    let address = || "10.1.1.1:443".to_owned();
    let leaf = |names: &Names| authority.leaf(names, &Periods::default(), now()).unwrap().chain;
    let day = Duration::from_secs(86400);
    let report = diagnose(&observed, &names(), now() + day * 8);
    let late = report.layers.iter().find(|finding| finding.layer == "certificate").unwrap();
    assert!(late.outcome == Outcome::Failed && late.message.contains("not now"), "{report}");
    observed.served = Served::Chain(address(), leaf(&Names::new("other", "home", "x")));
    assert!(found(&observed, "certificate").1.contains("is not for keeper.home.svc"));
    observed.served = Served::Chain(address(), Vec::new());
    assert!(found(&observed, "certificate").1.contains("serves no certificate"));
    for (is_given, outcome) in [(true, Outcome::Failed), (false, Outcome::Skipped)] {
        observed.served = Served::Unreachable { address: address(), why: "refused".to_owned(), is_given };
        assert_eq!(found(&observed, "certificate").0, outcome);
    }
    assert!(found(&observed, "certificate").1.contains("kubectl -n home port-forward service/keeper 9443:443"));
}

#[test]
fn the_api_servers_message_is_shown_with_a_hint() {
    let (mut observed, _) = healthy();
    for (canary, why, outcome, says) in [
        (Canary::NotAsked, "User \"u\" cannot create resource \"partitionsets\"", Outcome::Skipped, "forbidden: User"),
        (Canary::NotAsked, "the API server took it without asking", Outcome::Failed, "no webhook was called"),
        (
            Canary::Refused,
            "failed calling webhook \"m\": x509: unknown authority",
            Outcome::Failed,
            "about certificate",
        ),
        (Canary::Refused, "failed calling webhook: no endpoints available", Outcome::Failed, "about the service"),
        (Canary::Refused, "failed calling webhook: context deadline exceeded", Outcome::Failed, "port 9443"),
        (Canary::Unknown, "away", Outcome::Failed, "did not answer: away"),
    ] {
        observed.canary = (canary, Some(why.to_owned()));
        only(&observed, "reachability", outcome, says);
    }
}
