use super::*;

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn names() -> Names {
    Names::new("keeper", "home", "cluster.example")
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn ca(generation: u64) -> Ca {
    Ca::mint(&names(), generation, now()).unwrap()
}

fn with(ca: &Ca, key: &str, value: &str) -> Data {
    let mut data = render(ca);
    data.insert(key.to_owned(), ByteString(value.as_bytes().to_vec()));
    data
}

fn damage(data: &Data) -> Damage {
    match judge(data, &names(), now()) {
        Judgement::Damaged { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_written_is_read_again() {
    let ca = ca(4);
    let Judgement::Usable(read) = judge(&render(&ca), &names(), now()) else { panic!("unusable") };
    assert_eq!(read.generation, 4);
    assert_eq!(read.certificate, ca.certificate);
    assert_eq!(read.key.serialize_der(), ca.key.serialize_der());
    assert_eq!((read.not_before, read.not_after), (ca.not_before, ca.not_after));
    let leaf = read.leaf(&names(), now()).unwrap();
    let bundle = pem_of(ca.certificate());
    assert_eq!(super::super::verify::verify(&leaf.chain, bundle.as_bytes(), "keeper.home.svc", now()), Ok(()));
}

#[test]
fn the_current_ca_is_used_in_phases_of_later_versions() {
    let ahead = with(&ca(4), PHASE, "Published");
    assert!(matches!(judge(&ahead, &names(), now()), Judgement::Usable(_)));
}

#[test]
fn nothing_and_nothing_but_empty_values_are_empty() {
    assert!(matches!(judge(&Data::new(), &names(), now()), Judgement::Empty));
    let blank = Data::from([(CERTIFICATE.to_owned(), ByteString(Vec::new()))]);
    assert!(matches!(judge(&blank, &names(), now()), Judgement::Empty));
}

#[test]
fn every_damage_is_named() {
    let ca = ca(1);
    for key in [GENERATION, CERTIFICATE, KEY] {
        let mut data = render(&ca);
        data.remove(key);
        assert_eq!(damage(&data), Damage::Missing(key));
        assert_eq!(damage(&with(&ca, key, "")), Damage::Missing(key));
    }
    for key in [GENERATION, CERTIFICATE, KEY] {
        assert_eq!(damage(&with(&ca, key, "nonsense")), Damage::Illegible(key));
    }
    let broken = pem_of(&CertificateDer::from(vec![0x30, 0x03, 0x02, 0x01, 0x01]));
    assert_eq!(damage(&with(&ca, CERTIFICATE, &broken)), Damage::Illegible(CERTIFICATE));
    let other = KeyPair::generate().unwrap();
    assert_eq!(damage(&with(&ca, KEY, &other.serialize_pem())), Damage::KeyMismatch);
    let leaf = ca.leaf(&names(), now()).unwrap();
    let mut not_a_ca = with(&ca, CERTIFICATE, &pem_of(&leaf.chain[0]));
    let key = KeyPair::try_from(&leaf.key).unwrap();
    not_a_ca.insert(KEY.to_owned(), ByteString(key.serialize_pem().into_bytes()));
    assert_eq!(damage(&not_a_ca), Damage::NoAuthority);
    for (controller, namespace, domain) in
        [("other", "home", "cluster.example"), ("keeper", "x", "cluster.example"), ("keeper", "home", "x")]
    {
        let foreign = Ca::mint(&Names::new(controller, namespace, domain), 1, now()).unwrap();
        assert_eq!(damage(&render(&foreign)), Damage::OtherNames);
    }
    for then in [now() - YEAR * 10, now() + YEAR] {
        let stale = Ca::mint(&names(), 1, then).unwrap();
        assert_eq!(damage(&render(&stale)), Damage::NotValidNow);
    }
}

#[test]
fn an_unconstrained_ca_is_not_used() {
    let key = KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let mut data = with(&ca(1), CERTIFICATE, &pem_of(certificate.der()));
    data.insert(KEY.to_owned(), ByteString(key.serialize_pem().into_bytes()));
    assert_eq!(damage(&data), Damage::OtherNames);
}

#[test]
fn every_state_of_the_secret_has_its_action() {
    #[derive(Clone, Copy, Debug)]
    enum Held {
        None,
        Valid,
        Expired,
    }
    let (held, stored) = (ca(3), ca(7));
    let expired = Ca::mint(&names(), 3, now() - YEAR * 10).unwrap();
    let damaged = || with(&stored, KEY, "nonsense");
    let lost = || with(&stored, GENERATION, "nonsense");
    let cases: [(Option<Data>, Held, &str); 15] = [
        (None, Held::None, "keep"),
        (None, Held::Valid, "keep"),
        (None, Held::Expired, "keep"),
        (Some(Data::new()), Held::None, "new 1"),
        (Some(Data::new()), Held::Valid, "held"),
        (Some(Data::new()), Held::Expired, "new 4"),
        (Some(damaged()), Held::None, "new 8"),
        (Some(damaged()), Held::Valid, "held"),
        (Some(damaged()), Held::Expired, "new 8"),
        (Some(lost()), Held::None, "new 1"),
        (Some(render(&expired)), Held::Expired, "new 4"),
        (Some(render(&stored)), Held::None, "adopt 7"),
        (Some(render(&stored)), Held::Valid, "adopt 7"),
        (Some(render(&stored)), Held::Expired, "adopt 7"),
        (Some(render(&held)), Held::Valid, "keep"),
    ];
    for (data, in_memory, expected) in cases {
        let observed = match &data {
            Some(data) => Observed::Present(judge(data, &names(), now())),
            None => Observed::Missing,
        };
        let what = format!("{observed:?}, {in_memory:?}");
        let in_memory = match in_memory {
            Held::None => None,
            Held::Valid => Some(&held),
            Held::Expired => Some(&expired),
        };
        let action = match step(observed, in_memory, now()) {
            Action::Adopt(ca) => format!("adopt {}", ca.generation),
            Action::FillHeld => "held".to_owned(),
            Action::FillNew(generation) => format!("new {generation}"),
            Action::KeepServing => "keep".to_owned(),
        };
        assert_eq!(action, expected, "{what}");
    }
}
