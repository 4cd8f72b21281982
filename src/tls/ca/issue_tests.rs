use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::super::authority::pem_of;
use super::*;
use crate::tls::verify::{self, verify};

fn names() -> Names {
    Names::new("keeper", "home", "cluster.example.")
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn ca(generation: u64) -> Ca {
    Ca::mint(&names(), generation, DAY * 90, now()).unwrap()
}

fn leaf(ca: &Ca, names: &Names) -> Leaf {
    ca.leaf(names, None, DAY * 7, now()).unwrap()
}

fn check(ca: &Ca, leaf: &Leaf, name: &str, at: SystemTime) -> Result<(), verify::Error> {
    verify(&leaf.chain, pem_of(&ca.certificate).as_bytes(), name, at)
}

#[test]
fn a_leaf_verifies_by_every_name_of_the_service_and_by_no_other() {
    let ca = ca(1);
    let leaf = leaf(&ca, &names());
    for name in ["keeper", "keeper.home", "keeper.home.svc", "keeper.home.svc.cluster.example"] {
        assert_eq!(check(&ca, &leaf, name, now()), Ok(()), "{name}");
    }
    for name in ["keeper.other.svc", "kubernetes.default.svc", "x.keeper.home.svc"] {
        assert!(check(&ca, &leaf, name, now()).is_err(), "{name}");
    }
}

#[test]
fn a_leaf_does_not_verify_against_another_ca_of_the_same_names() {
    let (ca, other) = (ca(1), ca(2));
    let leaf = leaf(&ca, &names());
    assert_eq!(
        check(&other, &leaf, "keeper.home.svc", now()),
        Err(verify::Error::Certificate(webpki::Error::UnknownIssuer))
    );
    let both = pem_of(&other.certificate) + &pem_of(&ca.certificate);
    assert_eq!(verify(&leaf.chain, both.as_bytes(), "keeper.home.svc", now()), Ok(()));
}

/// A certificate that only a thief of the CA's key would make.
fn stolen(ca: &Ca, names: Vec<SanType>) -> Vec<CertificateDer<'static>> {
    let key = KeyPair::generate().unwrap();
    let mut params = params(now() - DAY, now() + DAY).unwrap();
    params.subject_alt_names = names;
    vec![params.signed_by(&key, &ca.issuer().unwrap()).unwrap().into()]
}

#[test]
fn a_stolen_ca_key_cannot_vouch_for_another_name_or_an_address() {
    let ca = ca(1);
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let chain = stolen(&ca, vec![dns("kubernetes.default.svc")]);
    let violation = Err(verify::Error::Certificate(webpki::Error::NameConstraintViolation));
    let bundle = pem_of(&ca.certificate);
    assert_eq!(verify(&chain, bundle.as_bytes(), "kubernetes.default.svc", now()), violation);
    let chain = stolen(&ca, vec![dns("keeper.home.svc"), SanType::IpAddress("10.0.0.1".parse().unwrap())]);
    assert_eq!(verify(&chain, bundle.as_bytes(), "keeper.home.svc", now()), violation);
    let chain = stolen(&ca, vec![dns("keeper.home.svc")]);
    assert_eq!(verify(&chain, bundle.as_bytes(), "keeper.home.svc", now()), Ok(()));
}

#[test]
fn a_leaf_of_the_next_ca_verifies_for_those_who_trust_the_old_one_only() {
    let (old, next) = (ca(1), ca(2));
    let cross = old.cross_sign(&next).unwrap();
    let leaf = next.leaf(&names(), Some(&cross), DAY * 7, now()).unwrap();
    assert_eq!(leaf.chain.len(), 2);
    for trusted in [&old, &next] {
        assert_eq!(check(trusted, &leaf, "keeper.home.svc", now()), Ok(()), "{trusted:?}");
    }
    let (_, own) = X509Certificate::from_der(&next.certificate).unwrap();
    let (_, crossed) = X509Certificate::from_der(&cross).unwrap();
    let (_, issuer) = X509Certificate::from_der(&old.certificate).unwrap();
    assert_eq!(own.subject().as_raw(), crossed.subject().as_raw());
    assert_eq!(own.public_key().raw, crossed.public_key().raw);
    assert_eq!(identifiers(&own).0, identifiers(&crossed).0);
    assert_eq!(identifiers(&crossed).1, identifiers(&issuer).0);
    assert_eq!(crossed.issuer().as_raw(), issuer.subject().as_raw());
    assert_ne!(own.serial, crossed.serial);
}

#[test]
fn a_cross_certificate_lasts_as_long_as_both_and_is_not_served_after_that() {
    let old = Ca::mint(&names(), 1, DAY * 90, now() - DAY * 80).unwrap();
    let next = ca(2);
    let cross = old.cross_sign(&next).unwrap();
    let validity = Validity::of(&cross).unwrap();
    assert_eq!((validity.not_before, validity.not_after), (next.not_before, old.not_after));
    let chain = |at: SystemTime| next.leaf(&names(), Some(&cross), DAY * 7, at).unwrap().chain.len();
    assert_eq!((chain(now()), chain(now() + DAY * 9), chain(now() + DAY * 10)), (2, 2, 1));
}

#[test]
fn a_leaf_has_only_names_that_all_cas_on_its_way_may_vouch_for() {
    let elsewhere = Names::new("keeper", "home", "other.example");
    let (old, next) = (ca(1), Ca::mint(&elsewhere, 2, DAY * 90, now()).unwrap());
    let cross = old.cross_sign(&next).unwrap();
    let leaf = next.leaf(&elsewhere, Some(&cross), DAY * 7, now()).unwrap();
    for trusted in [&old, &next] {
        assert_eq!(check(trusted, &leaf, "keeper.home.svc", now()), Ok(()));
        assert!(check(trusted, &leaf, "keeper.home.svc.other.example", now()).is_err());
    }
    let alone = next.leaf(&elsewhere, None, DAY * 7, now()).unwrap();
    assert_eq!(check(&next, &alone, "keeper.home.svc.other.example", now()), Ok(()));
}

#[test]
fn validity_is_back_dated_and_never_beyond_the_ca() {
    let ca = ca(1);
    let leaf = leaf(&ca, &names());
    let at = |time| check(&ca, &leaf, "keeper.home.svc", time);
    for (time, valid) in [
        (now() - DAY, true),
        (now() - DAY - Duration::from_secs(1), false),
        (now() + DAY * 7, true),
        (now() + DAY * 7 + Duration::from_secs(1), false),
    ] {
        assert_eq!(at(time).is_ok(), valid, "{:?}", time.duration_since(now()));
    }
    let (earliest, latest) = (now() + DAY * 7 * 2 / 3 - DAY * 7 / 10, now() + DAY * 7 * 2 / 3);
    assert!(earliest <= leaf.renew_at && leaf.renew_at <= latest);
    let late = ca.leaf(&names(), None, DAY * 7, ca.not_after - DAY).unwrap();
    assert_eq!(late.not_after, ca.not_after);
    assert!(late.renew_at < ca.not_after);
}

#[test]
fn the_ca_is_what_every_verifier_expects_of_one() {
    let (first, second) = (ca(7), ca(7));
    let (_, ca) = X509Certificate::from_der(&first.certificate).unwrap();
    let (_, other) = X509Certificate::from_der(&second.certificate).unwrap();
    assert!(ca.subject().to_string().starts_with("CN=keeper CA 7 "), "{}", ca.subject());
    assert_ne!(ca.subject(), other.subject());
    assert_ne!(ca.serial, other.serial);
    assert!(ca.raw_serial().len() >= 14, "a serial number of 128 random bits");
    let basic = ca.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && basic.value.ca && basic.value.path_len_constraint == Some(1));
    let constraints = ca.name_constraints().unwrap().unwrap();
    assert!(constraints.critical);
    let permitted: Vec<_> = constraints.value.permitted_subtrees.as_ref().unwrap().iter().map(|s| &s.base).collect();
    let expected = names().service();
    assert_eq!(
        permitted,
        expected.iter().map(|name| GeneralName::DNSName(name)).collect::<Vec<_>>().iter().collect::<Vec<_>>()
    );
    let (subject, authority) = identifiers(&ca);
    assert!(subject.is_some());
    assert_eq!(subject, authority);
    let leaf = leaf(&first, &names());
    let (_, leaf) = X509Certificate::from_der(&leaf.chain[0]).unwrap();
    assert_eq!(identifiers(&leaf).1, subject);
}

/// The identifiers of a certificate's own key and of its issuer's.
fn identifiers(certificate: &X509Certificate<'_>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let find = |subject: bool| {
        certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) if subject => Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) if !subject => Some(id.key_identifier.as_ref()?.0.to_vec()),
            _ => None,
        })
    };
    (find(true), find(false))
}

#[test]
fn the_longest_names_fit() {
    let names = Names::new(&"c".repeat(63), &"n".repeat(63), "cluster.local");
    let ca = Ca::mint(&names, u64::MAX, DAY * 90, now()).unwrap();
    let leaf = leaf(&ca, &names);
    assert_eq!(check(&ca, &leaf, &names.server_name(), now()), Ok(()));
    let (_, ca) = X509Certificate::from_der(&ca.certificate).unwrap();
    let common_name = ca.subject().iter_common_name().next().unwrap().as_str().unwrap();
    assert!(common_name.len() <= 64, "{common_name}");
}

#[test]
fn keys_do_not_show_in_debug_output() {
    let ca = ca(1);
    let leaf = leaf(&ca, &names());
    let shown = format!("{ca:?}{leaf:?}");
    assert_eq!(shown.matches("[secret key elided]").count(), 2, "{shown}");
    for key in [ca.key.serialized_der(), leaf.key.secret_der()] {
        let bytes = format!("{key:?}");
        assert!(!shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
    }
}
