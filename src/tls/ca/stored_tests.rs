use std::time::{Duration, SystemTime};

use super::super::periods::Periods;
use super::*;

fn names() -> Names {
    Names::new("keeper", "home", "cluster.example")
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn stable() -> Authority {
    Authority::mint(&names(), 4, &Periods::default(), now()).unwrap()
}

fn published() -> Authority {
    stable().published(&names(), &Periods::default(), now()).unwrap()
}

fn promoted() -> Authority {
    published().promoted().unwrap()
}

fn with(authority: &Authority, key: &str, value: &str) -> Data {
    let mut data = render(authority);
    data.insert(key.to_owned(), ByteString(value.as_bytes().to_vec()));
    data
}

fn damage(data: &Data) -> Damage {
    let Diagnosis { authority: None, damage: Some(damage), .. } = diagnose(data, &names()) else { panic!("usable") };
    damage
}

#[test]
fn what_was_written_is_read_again() {
    for authority in [stable(), published(), promoted(), promoted().retired()] {
        let diagnosis = diagnose(&render(&authority), &names());
        assert_eq!((diagnosis.damage, diagnosis.generation), (None, Some(authority.current.generation)));
        let read = diagnosis.authority.unwrap();
        assert_eq!(render(&read), render(&authority));
        assert_eq!(read.rank(), authority.rank());
        let times = |ca: &Ca| (ca.not_before, ca.not_after, ca.common_name.clone(), ca.permitted.clone());
        assert_eq!(times(&read.current), times(&authority.current));
    }
}

#[test]
fn a_phase_of_a_later_version_is_no_damage() {
    let ahead = with(&stable(), PHASE, "Ahead");
    let diagnosis = diagnose(&ahead, &names());
    assert_eq!((diagnosis.damage, diagnosis.authority.unwrap().rank()), (None, (4, 1)));
}

#[test]
fn without_a_legible_phase_what_came_before_is_still_trusted() {
    let promoted = promoted();
    for phase in ["", "garbage"] {
        let diagnosis = diagnose(&with(&promoted, PHASE, phase), &names());
        assert_eq!((diagnosis.damage, diagnosis.authority.unwrap().rank()), (None, (5, 0)), "{phase}");
    }
    let diagnosis = diagnose(&with(&published(), PHASE, "garbage"), &names());
    assert_eq!((diagnosis.damage, diagnosis.authority.unwrap().rank()), (None, (4, 1)));
}

#[test]
fn nothing_and_nothing_but_empty_values_are_empty() {
    assert_eq!(damage(&Data::new()), Damage::Empty);
    assert_eq!(damage(&Data::from([(CURRENT.0.to_owned(), ByteString(Vec::new()))])), Damage::Empty);
}

#[test]
fn every_damage_of_the_current_ca_is_named() {
    let ca = stable();
    for key in [GENERATION, CURRENT.0, CURRENT.1] {
        let mut data = render(&ca);
        data.remove(key);
        assert_eq!(damage(&data), Damage::Missing(key));
        assert_eq!(damage(&with(&ca, key, "")), Damage::Missing(key));
        assert_eq!(damage(&with(&ca, key, "nonsense")), Damage::Illegible(key));
    }
    let broken = pem_of(&CertificateDer::from(vec![0x30, 0x03, 0x02, 0x01, 0x01]));
    assert_eq!(damage(&with(&ca, CURRENT.0, &broken)), Damage::Illegible(CURRENT.0));
    let other = KeyPair::generate().unwrap();
    assert_eq!(damage(&with(&ca, CURRENT.1, &other.serialize_pem())), Damage::KeyMismatch(CURRENT.0));
    let leaf = ca.leaf(&names(), &Periods::default(), now()).unwrap();
    let mut not_a_ca = with(&ca, CURRENT.0, &pem_of(&leaf.chain[0]));
    let key = KeyPair::try_from(&leaf.key).unwrap();
    not_a_ca.insert(CURRENT.1.to_owned(), ByteString(key.serialize_pem().into_bytes()));
    assert_eq!(damage(&not_a_ca), Damage::NoAuthority(CURRENT.0));
    for (controller, namespace) in [("other", "home"), ("keeper", "x")] {
        let names = Names::new(controller, namespace, "cluster.example");
        let foreign = Authority::mint(&names, 1, &Periods::default(), now()).unwrap();
        assert_eq!(damage(&render(&foreign)), Damage::OtherNames(CURRENT.0));
    }
}

#[test]
fn a_ca_of_another_cluster_domain_serves_until_it_is_replaced() {
    let moved = Names::new("keeper", "home", "other.example");
    let authority = Authority::mint(&moved, 1, &Periods::default(), now()).unwrap();
    assert_eq!(diagnose(&render(&authority), &names()).damage, None);
}

#[test]
fn an_unconstrained_ca_is_not_used() {
    let key = KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let mut data = with(&stable(), CURRENT.0, &pem_of(certificate.der()));
    data.insert(CURRENT.1.to_owned(), ByteString(key.serialize_pem().into_bytes()));
    assert_eq!(damage(&data), Damage::OtherNames(CURRENT.0));
}

#[test]
fn what_is_around_a_sound_ca_may_be_lost() {
    let (published, promoted) = (published(), promoted());
    let other = KeyPair::generate().unwrap().serialize_pem();
    let foreign = pem_of(&stable().current.certificate);
    for (authority, key, value, expected, rank) in [
        (&published, NEXT.0, "", Damage::Missing(NEXT.0), (4, 1)),
        (&published, NEXT.0, "nonsense", Damage::Illegible(NEXT.0), (4, 1)),
        (&published, NEXT.1, other.as_str(), Damage::KeyMismatch(NEXT.0), (4, 1)),
        (&promoted, PREVIOUS, "", Damage::Missing(PREVIOUS), (5, 1)),
        (&promoted, PREVIOUS, "nonsense", Damage::Illegible(PREVIOUS), (5, 1)),
        (&promoted, PREVIOUS, foreign.as_str(), Damage::Unrelated(PREVIOUS), (5, 1)),
        (&promoted, CROSS, "", Damage::Missing(CROSS), (5, 0)),
        (&promoted, CROSS, "nonsense", Damage::Illegible(CROSS), (5, 0)),
        (&promoted, CROSS, foreign.as_str(), Damage::KeyMismatch(CROSS), (5, 0)),
    ] {
        let diagnosis = diagnose(&with(authority, key, value), &names());
        assert_eq!(diagnosis.damage, Some(expected), "{key} {value}");
        assert_eq!(diagnosis.authority.unwrap().rank(), rank, "{key} {value}");
    }
}

#[test]
fn a_generation_that_leaves_no_room_is_illegible() {
    assert_eq!(damage(&with(&stable(), GENERATION, &u64::MAX.to_string())), Damage::Illegible(GENERATION));
}
