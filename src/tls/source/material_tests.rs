use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use time::OffsetDateTime;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + DAY * 20_000
}

/// A certificate that is valid from a day ago until in ten days, and its key.
fn pair(is_ca: bool) -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["x".to_owned()]).unwrap();
    params.not_before = OffsetDateTime::from(now() - DAY);
    params.not_after = OffsetDateTime::from(now() + DAY * 10);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    (params.self_signed(&key).unwrap().pem().into_bytes(), key.serialize_pem().into_bytes())
}

#[test]
fn a_pair_is_used_in_its_time_only_and_only_with_its_own_key() {
    let (certificate, key) = pair(false);
    let found = Found { certificate: Some(certificate), key: Some(key), ca: None };
    let good = Pair::of(&found, now()).unwrap();
    assert_eq!(good.not_after(), now() + DAY * 10);
    let error = |found: &Found, now| Pair::of(found, now).unwrap_err().to_string();
    assert_eq!(error(&found, now() + DAY * 10), "the certificate has expired");
    assert_eq!(error(&found, now() - DAY * 2), "the certificate is not valid yet");
    let torn = Found { key: Some(pair(false).1), ..found.clone() };
    assert!(error(&torn, now()).contains("cannot be used with the key"), "{}", error(&torn, now()));
    for (broken, says) in [
        (Found::default(), "tls.crt is missing"),
        (Found { key: None, ..found.clone() }, "tls.key is missing"),
        (Found { certificate: Some(Vec::new()), ..found.clone() }, "tls.crt is not PEM of a certificate"),
        (Found { certificate: found.key.clone(), ..found.clone() }, "tls.crt is not PEM of a certificate"),
        (Found { key: found.certificate.clone(), ..found.clone() }, "tls.key is not PEM of a private key"),
        (
            Found { certificate: found.certificate.as_ref().map(|pem| pem[..pem.len() / 2].to_vec()), ..found.clone() },
            "tls.crt is not PEM of a certificate",
        ),
    ] {
        assert_eq!(error(&broken, now()), says);
    }
}

#[test]
fn authorities_are_all_that_can_be_read_and_good_as_long_as_one_is() {
    let roots = |ca: Option<Vec<u8>>, now| Roots::of(&Found { ca, ..Found::default() }, now);
    let error = |ca, now| roots(ca, now).unwrap_err().to_string();
    let both = [pair(true).0, pair(true).0].concat();
    let subjects = roots(Some(both.clone()), now()).unwrap().verifier.root_hint_subjects().len();
    assert_eq!(subjects, 2);
    assert_eq!(error(Some(both), now() + DAY * 10), "the certificate has expired");
    assert_eq!(error(None, now()), "ca.crt is missing");
    assert_eq!(error(Some(b"x".to_vec()), now()), "ca.crt is not PEM of a certificate");
}
