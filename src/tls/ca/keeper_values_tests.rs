use super::super::rotation::Cause;
use super::*;
use crate::tls::names::Names;

fn secret(annotations: &[&str]) -> Secret {
    let mut secret = Secret::default();
    secret.annotations_mut().extend(annotations.iter().map(|key| ((*key).to_owned(), "because".to_owned())));
    secret
}

#[test]
fn a_request_is_an_annotation_and_a_revocation_comes_first() {
    assert_eq!(requested(&secret(&[])), Request::Nothing);
    assert_eq!(requested(&secret(&["other", ROTATE])), Request::Rotation);
    assert_eq!(requested(&secret(&[ROTATE, REVOKE])), Request::Revocation);
}

#[test]
fn a_change_removes_the_request_that_it_fulfils_and_no_other() {
    let names = Names::new("keeper", "home", "x");
    let authority = Authority::mint(&names, 1, &Periods::default(), SystemTime::now()).unwrap();
    let found = secret(&["other", ROTATE, REVOKE]);
    for (change, left) in [
        (Change::Back, vec![REVOKE, ROTATE, "other"]),
        (Change::Promote, vec![REVOKE, ROTATE, "other"]),
        (Change::Publish(Cause::Request), vec![REVOKE, "other"]),
        (Change::Revoke, vec!["other"]),
    ] {
        let written = written(&found, &authority, change);
        let keys: Vec<_> = written.annotations().keys().map(String::as_str).collect();
        assert_eq!(keys, left, "{change:?}");
        assert_eq!(written.data, Some(stored::render(&authority)));
    }
}

#[test]
fn a_replica_with_nothing_to_sign_with_checks_often() {
    let (names, periods, now) = (Names::new("keeper", "home", "x"), Periods::default(), SystemTime::now());
    let valid = Authority::mint(&names, 1, &periods, now).unwrap();
    let rotating = valid.published(&names, &periods, now).unwrap();
    let expired = Authority::mint(&names, 1, &periods, now - periods.ca * 2).unwrap();
    let failed = Some(Duration::from_secs(2));
    let at = |held, failed| pause(held, failed, &periods, now);
    assert_eq!(at(None, None), START);
    assert_eq!(at(Some(&expired), None), START);
    assert_eq!(at(Some(&expired), failed), Duration::from_secs(2));
    assert_eq!(at(Some(&valid), None), periods.clock_check());
    assert_eq!(at(Some(&valid), failed), Duration::from_secs(2));
    assert_eq!(at(Some(&rotating), None), periods.hold_down / 4);
}
