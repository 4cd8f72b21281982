use super::super::rotation::Cause;
use super::*;

fn secret(annotations: &[&str]) -> Secret {
    let mut secret = Secret::default();
    secret.annotations_mut().extend(annotations.iter().map(|key| ((*key).to_owned(), "because".to_owned())));
    secret
}

#[test]
fn a_wish_stands_in_an_annotation_and_a_revocation_comes_first() {
    assert_eq!(wanted(&secret(&[])), Wanted::Nothing);
    assert_eq!(wanted(&secret(&["other", ROTATE])), Wanted::Rotation);
    assert_eq!(wanted(&secret(&[ROTATE, REVOKE])), Wanted::Revocation);
}

#[test]
fn what_fulfils_a_wish_takes_it_away_and_nothing_else() {
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
fn whoever_has_nothing_to_sign_with_looks_often() {
    let (names, periods, now) = (Names::new("keeper", "home", "x"), Periods::default(), SystemTime::now());
    let valid = Authority::mint(&names, 1, &periods, now).unwrap();
    let rotating = valid.published(&names, &periods, now).unwrap();
    let expired = Authority::mint(&names, 1, &periods, now - periods.ca * 2).unwrap();
    let failed = Some(Duration::from_secs(2));
    let at = |held, leads, failed| pause(held, leads, failed, &periods, now);
    assert_eq!(at(None, false, None), START);
    assert_eq!(at(Some(&expired), true, None), START);
    assert_eq!(at(Some(&expired), true, failed), Duration::from_secs(2));
    assert_eq!(at(Some(&valid), true, None), periods.look());
    assert_eq!(at(Some(&valid), true, failed), Duration::from_secs(2));
    assert_eq!(at(Some(&rotating), true, None), periods.hold_down / 4);
    assert_eq!(at(Some(&rotating), false, None), periods.look());
}

#[test]
fn the_time_of_a_version_starts_anew_with_the_next() {
    let (mut sight, start) = (None, Instant::now());
    let mut at = |version: &str, seconds| {
        let mut secret = secret(&[]);
        secret.metadata.resource_version = Some(version.to_owned());
        Sight::time(&mut sight, &secret, start + Duration::from_secs(seconds)).as_secs()
    };
    let times = [at("1", 0), at("1", 5), at("2", 7), at("2", 8), at("1", 9)];
    assert_eq!(times, [0, 5, 0, 1, 0]);
}
