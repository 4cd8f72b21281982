use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use time::OffsetDateTime;

use super::*;
use crate::runtime::metrics::Registry;
use crate::tls::source::keep::keep;
use crate::tls::tests::context;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const NAME: &str = "keeper.home.svc";

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + DAY * 20_000
}

fn params(names: &[&str], lasts: Duration) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = OffsetDateTime::from(now() - DAY);
    params.not_after = OffsetDateTime::from(now() + lasts);
    params
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params(&[], DAY * 100);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap()
}

fn below(root: &Authority, name: &str) -> Authority {
    CertifiedIssuer::signed_by(authority_params(name), KeyPair::generate().unwrap(), root).unwrap()
}

/// A certificate and its key, in PEM.
fn leaf(params: &CertificateParams, issuer: &Issuer<'_, KeyPair>) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}

fn found((certificate, key): &(String, String), ca: &str) -> Found {
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    Found { certificate: bytes(certificate), key: bytes(key), ca: bytes(ca).filter(|ca| !ca.is_empty()) }
}

fn verified(found: &Found) -> Result<SystemTime, String> {
    super::verified(found, now(), NAME).map(|pair| pair.not_after()).map_err(|error| error.to_string())
}

#[track_caller]
fn assert_refused(found: &Found, because: &str) {
    let error = verified(found).unwrap_err();
    assert!(error.contains(because), "{error:?} instead of {because:?}");
}

#[test]
fn a_pair_is_served_if_an_api_server_would_take_it_that_trusts_its_authority() {
    let (root, other) = (authority("root"), authority("other"));
    let middle = below(&root, "middle");
    let good = params(&["else.where", NAME], DAY * 10);
    let direct = leaf(&good, &root);
    assert_eq!(verified(&found(&direct, &root.pem())), Ok(now() + DAY * 10));
    assert_eq!(verified(&found(&direct, &[other.pem(), root.pem()].concat())), Ok(now() + DAY * 10));
    let (certificate, key) = leaf(&good, &middle);
    let long = ([certificate.clone(), middle.pem()].concat(), key.clone());
    assert!(verified(&found(&long, &root.pem())).is_ok());
    assert_refused(&found(&(certificate, key), &root.pem()), "UnknownIssuer");
    assert_refused(&found(&direct, &other.pem()), "UnknownIssuer");
    assert_refused(&found(&direct, "garbage"), "the bundle has no certificate");
    let mismatched = (direct.0.clone(), leaf(&good, &root).1);
    assert_refused(&found(&mismatched, &root.pem()), "cannot be used with the key");
}

#[test]
fn a_pair_has_to_be_for_the_service_for_servers_and_for_now_whether_or_not_its_authority_is_there() {
    let root = authority("root");
    for ca in [root.pem(), String::new()] {
        let of = |params: &CertificateParams| found(&leaf(params, &root), &ca);
        assert!(verified(&of(&params(&[NAME], DAY))).is_ok());
        assert_refused(&of(&params(&["keeper.home"], DAY)), "keeper.home.svc");
        assert_refused(&of(&params(&[NAME], Duration::ZERO)), "has expired");
        let mut late = params(&[NAME], DAY * 2);
        late.not_before = OffsetDateTime::from(now() + DAY);
        assert_refused(&of(&late), "not valid yet");
        let mut client = params(&[NAME], DAY);
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let error = verified(&of(&client)).unwrap_err();
        assert!(error.contains("RequiredEkuNotFound") || error.contains("not for servers"), "{error}");
        client.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        assert!(verified(&of(&client)).is_ok());
    }
}

#[test]
fn without_its_authority_a_chain_has_to_hold_together() {
    let (root, other) = (authority("root"), authority("other"));
    let middle = below(&root, "middle");
    let (certificate, key) = leaf(&params(&[NAME], DAY), &middle);
    let chain = |issuers: &[&Authority]| {
        let pem: String =
            std::iter::once(certificate.clone()).chain(issuers.iter().map(|issuer| issuer.pem())).collect();
        found(&(pem, key.clone()), "")
    };
    for good in [vec![], vec![&middle], vec![&middle, &root]] {
        assert!(verified(&chain(&good)).is_ok(), "{}", good.len());
    }
    for broken in [vec![&other], vec![&root], vec![&middle, &other]] {
        assert_refused(&chain(&broken), "UnknownIssuer");
    }
}

#[tokio::test]
async fn what_is_good_is_served_at_once_and_what_is_not_changes_nothing() {
    let root = authority("root");
    let context = context();
    let resolver = Arc::clone(&context.resolver);
    let (sender, seen) = futures::channel::mpsc::unbounded::<Result<Found, String>>();
    let (pair, pairs) = watch::channel(None);
    let (served, mut changed) = watch::channel(());
    let now = SystemTime::now();
    let fresh = || {
        let mut params = params(&[NAME], DAY);
        params.not_before = OffsetDateTime::from(now - DAY);
        params.not_after = OffsetDateTime::from(now + DAY);
        leaf(&params, &root)
    };
    let make = |found: &Found, now| super::verified(found, now, NAME);
    let keeping = keep(Box::pin(seen), ROLE, make, pair, Registry::default().register());
    // The bundles were not seen: nothing has to wait.
    let trust = [watch::Sender::default(), watch::Sender::default()];
    let handover = Server { context, trust: trust.each_ref().map(watch::Sender::subscribe), used: None };
    let tasks = [tokio::spawn(keeping), tokio::spawn(handover.run(pairs, served))];
    let mut last = Vec::new();
    for _ in 0..3 {
        let good = fresh();
        sender.unbounded_send(Ok(found(&(good.0.clone(), fresh().1), &root.pem()))).unwrap();
        assert_eq!(resolver.chain(), last);
        sender.unbounded_send(Ok(found(&good, &root.pem()))).unwrap();
        changed.changed().await.unwrap();
        assert_ne!(resolver.chain(), last);
        assert_eq!((resolver.check(now), resolver.check(now + DAY * 2).is_err()), (Ok(()), true));
        last = resolver.chain();
    }
    drop(sender);
    for task in tasks {
        task.await.unwrap();
    }
}
