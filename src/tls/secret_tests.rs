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
