use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::super::state::pem_of;
use super::super::verify::{self, verify};
use super::*;

fn names() -> Names {
    Names::new("keeper", "home", "cluster.example.")
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn check(ca: &Ca, leaf: &Leaf, name: &str, at: SystemTime) -> Result<(), verify::Error> {
    verify(&leaf.chain, pem_of(ca.certificate()).as_bytes(), name, at)
}

#[test]
fn a_leaf_verifies_by_every_name_of_the_service_and_by_no_other() {
    let ca = Ca::mint(&names(), 1, now()).unwrap();
    let leaf = ca.leaf(&names(), now()).unwrap();
    for name in ["keeper", "keeper.home", "keeper.home.svc", "keeper.home.svc.cluster.example"] {
        assert_eq!(check(&ca, &leaf, name, now()), Ok(()), "{name}");
    }
    for name in ["keeper.other.svc", "kubernetes.default.svc", "x.keeper.home.svc"] {
        assert!(check(&ca, &leaf, name, now()).is_err(), "{name}");
    }
}

#[test]
fn a_leaf_does_not_verify_against_another_ca_of_the_same_names() {
    let (ca, other) = (Ca::mint(&names(), 1, now()).unwrap(), Ca::mint(&names(), 2, now()).unwrap());
    let leaf = ca.leaf(&names(), now()).unwrap();
    assert_eq!(
        check(&other, &leaf, "keeper.home.svc", now()),
        Err(verify::Error::Certificate(webpki::Error::UnknownIssuer))
    );
    let both = pem_of(other.certificate()) + &pem_of(ca.certificate());
    assert_eq!(verify(&leaf.chain, both.as_bytes(), "keeper.home.svc", now()), Ok(()));
}

#[test]
fn a_stolen_ca_key_cannot_vouch_for_another_name_or_an_address() {
    let ca = Ca::mint(&names(), 1, now()).unwrap();
    let foreign = ca.leaf(&Names::new("kubernetes", "default", "cluster.local"), now()).unwrap();
    let outcome = check(&ca, &foreign, "kubernetes.default.svc", now());
    assert_eq!(outcome, Err(verify::Error::Certificate(webpki::Error::NameConstraintViolation)));

    let key = KeyPair::generate().unwrap();
    let mut params = params(now() - DAY, now() + DAY).unwrap();
    params.subject_alt_names =
        vec![SanType::DnsName("keeper.home.svc".try_into().unwrap()), SanType::IpAddress("10.0.0.1".parse().unwrap())];
    let issuer = Issuer::from_ca_cert_der(&ca.certificate, &ca.key).unwrap();
    let chain = [params.signed_by(&key, &issuer).unwrap().into()];
    let outcome = verify(&chain, pem_of(ca.certificate()).as_bytes(), "keeper.home.svc", now());
    assert_eq!(outcome, Err(verify::Error::Certificate(webpki::Error::NameConstraintViolation)));
}

#[test]
fn validity_is_back_dated_and_never_beyond_the_ca() {
    let ca = Ca::mint(&names(), 1, now()).unwrap();
    let leaf = ca.leaf(&names(), now()).unwrap();
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
    let late = ca.leaf(&names(), ca.not_after - DAY).unwrap();
    assert_eq!(late.not_after, ca.not_after);
    assert!(late.renew_at < ca.not_after);
}

#[test]
fn the_ca_is_what_every_verifier_expects_of_one() {
    let (first, second) = (Ca::mint(&names(), 7, now()).unwrap(), Ca::mint(&names(), 7, now()).unwrap());
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
    let identifiers = |certificate: &X509Certificate<'_>| {
        let find = |subject: bool| {
            certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) if subject => Some(id.0.to_vec()),
                ParsedExtension::AuthorityKeyIdentifier(id) if !subject => Some(id.key_identifier.as_ref()?.0.to_vec()),
                _ => None,
            })
        };
        (find(true), find(false))
    };
    let (subject, authority) = identifiers(&ca);
    assert!(subject.is_some());
    assert_eq!(subject, authority);
    let leaf = first.leaf(&names(), now()).unwrap();
    let (_, leaf) = X509Certificate::from_der(&leaf.chain[0]).unwrap();
    assert_eq!(identifiers(&leaf).1, subject);
}

#[test]
fn the_longest_names_fit() {
    let names = Names::new(&"c".repeat(63), &"n".repeat(63), "cluster.local");
    let ca = Ca::mint(&names, u64::MAX, now()).unwrap();
    let leaf = ca.leaf(&names, now()).unwrap();
    assert_eq!(check(&ca, &leaf, &names.server_name(), now()), Ok(()));
    let (_, ca) = X509Certificate::from_der(&ca.certificate).unwrap();
    let common_name = ca.subject().iter_common_name().next().unwrap().as_str().unwrap();
    assert!(common_name.len() <= 64, "{common_name}");
}

#[test]
fn keys_do_not_show_in_debug_output() {
    let ca = Ca::mint(&names(), 1, now()).unwrap();
    let leaf = ca.leaf(&names(), now()).unwrap();
    assert!(!format!("{ca:?}{leaf:?}").contains("key"));
}
