use super::super::stored::{Damage, Data, diagnose};
use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn names() -> Names {
    Names::new("keeper", "home", "x")
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + DAY * 20_000
}

fn stable(generation: u64, made_at: SystemTime) -> Authority {
    Authority::mint(&names(), generation, &Periods::default(), made_at).unwrap()
}

fn published(made_at: SystemTime) -> Authority {
    stable(1, made_at).published(&names(), &Periods::default(), now()).unwrap()
}

fn found(authority: Option<&Authority>) -> Diagnosis {
    diagnose(&authority.map(render).unwrap_or_default(), &names())
}

fn damaged(authority: &Authority) -> Diagnosis {
    Diagnosis { authority: None, damage: Some(Damage::Illegible("current.crt")), ..found(Some(authority)) }
}

/// What a leader observes that has led for long and has seen no bundle.
fn leads<'a>(secret: &'a Diagnosis, held: &'a Authority) -> Observed<'a> {
    Observed {
        secret: Some(secret),
        held: Some(held),
        seen_for: DAY,
        leading_for: Some(DAY),
        is_trusted: true,
        is_found_trusted: true,
        request: Request::Nothing,
        in_sync_for: None,
    }
}

fn decide(observed: &Observed<'_>) -> Action {
    step(observed, &names(), &Periods::default(), now())
}

/// What a leader does whose memory and Secret agree.
fn next(authority: &Authority, change: impl FnOnce(&mut Observed<'_>)) -> Action {
    let secret = found(Some(authority));
    let mut observed = leads(&secret, authority);
    change(&mut observed);
    decide(&observed)
}

#[test]
fn every_state_of_the_secret_has_its_action() {
    let (old, valid, newer) = (stable(3, now() - DAY * 100), stable(3, now()), stable(7, now()));
    let nothing = || found(None);
    let older = stable(2, now());
    let salvaged = || Diagnosis { damage: Some(Damage::Missing("next.crt")), ..found(Some(&newer)) };
    let new = |generation| Action::Write(Change::New(generation));
    let back = Action::Write(Change::Back);
    let cases = [
        (None, None, Action::Keep, Action::Keep),
        (None, Some(&valid), Action::Keep, Action::Keep),
        (None, Some(&old), Action::Keep, Action::Keep),
        (Some(nothing()), None, new(1), new(1)),
        (Some(nothing()), Some(&valid), back, back),
        (Some(nothing()), Some(&old), new(4), new(4)),
        (Some(damaged(&newer)), None, new(8), new(8)),
        (Some(damaged(&newer)), Some(&valid), back, back),
        (Some(salvaged()), None, Action::Write(Change::Salvage), Action::Write(Change::Salvage)),
        (Some(salvaged()), Some(&valid), back, back),
        (Some(found(Some(&newer))), None, Action::Adopt, Action::Adopt),
        (Some(found(Some(&newer))), Some(&valid), Action::Adopt, Action::Adopt),
        (Some(found(Some(&newer))), Some(&old), Action::Adopt, Action::Adopt),
        (Some(found(Some(&older))), Some(&valid), back, back),
        (Some(found(Some(&valid))), Some(&valid), Action::Keep, Action::Keep),
        (Some(found(Some(&old))), Some(&valid), back, back),
        (Some(found(Some(&old))), None, new(4), Action::Keep),
        (Some(found(Some(&old))), Some(&old), new(4), Action::Keep),
    ];
    for (secret, held, leader, other) in cases {
        let mut observed = Observed {
            secret: secret.as_ref(),
            held,
            seen_for: Duration::ZERO,
            leading_for: Some(DAY),
            is_trusted: false,
            is_found_trusted: false,
            request: Request::Nothing,
            in_sync_for: None,
        };
        assert_eq!(decide(&observed), leader, "{observed:?}");
        observed.leading_for = None;
        assert_eq!(decide(&observed), other, "{observed:?}");
    }
}

#[test]
fn of_two_cas_of_one_generation_the_one_in_the_secret_counts() {
    let (held, secret) = (stable(1, now()), found(Some(&stable(1, now()))));
    assert_eq!(decide(&leads(&secret, &held)), Action::Adopt);
}

#[test]
fn a_rotation_begins_after_two_thirds_and_only_the_leader_begins_it() {
    let aged = |days| stable(1, now() - DAY * days);
    let publish = Action::Write(Change::Publish(Cause::Age));
    assert_eq!(next(&aged(59), |_| {}), Action::Keep);
    assert_eq!(next(&aged(60), |_| {}), publish);
    assert_eq!(next(&aged(60), |observed| observed.leading_for = None), Action::Keep);
    // Not in the midst of a rollout, unless it is late.
    let just = |observed: &mut Observed<'_>| observed.leading_for = Some(Duration::from_secs(59));
    assert_eq!(next(&aged(60), just), Action::Keep);
    assert_eq!(next(&aged(83), just), publish);
}

#[test]
fn a_ca_of_an_earlier_version_or_for_other_names_is_replaced() {
    let ten_years = Periods { ca: DAY * 3650, ..Periods::default() };
    let long = Authority::mint(&names(), 1, &ten_years, now()).unwrap();
    assert_eq!(next(&long, |_| {}), Action::Write(Change::Publish(Cause::Lifetime)));
    let moved = Authority::mint(&Names::new("keeper", "home", "y"), 1, &Periods::default(), now()).unwrap();
    assert_eq!(next(&moved, |_| {}), Action::Write(Change::Publish(Cause::Names)));
}

#[test]
fn a_person_can_have_a_rotation_or_a_revocation_now() {
    let rotate = |observed: &mut Observed<'_>| {
        (observed.request, observed.leading_for) = (Request::Rotation, Some(Duration::ZERO));
    };
    let revoke = |observed: &mut Observed<'_>| observed.request = Request::Revocation;
    let (stable, published) = (stable(1, now()), published(now()));
    let promoted = published.promoted().unwrap();
    assert_eq!(next(&stable, rotate), Action::Write(Change::Publish(Cause::Request)));
    assert_eq!(next(&published, rotate), Action::Keep);
    for state in [&stable, &published, &promoted] {
        assert_eq!(next(state, revoke), Action::Write(Change::Revoke));
    }
}

#[test]
fn the_next_ca_signs_when_api_servers_have_had_the_time_to_trust_it() {
    let published = published(now());
    for (in_sync, expected) in [
        (None, Action::Keep),
        (Some(Duration::from_secs(59)), Action::Keep),
        (Some(Duration::from_secs(60)), Action::Write(Change::Promote)),
    ] {
        let just = |observed: &mut Observed<'_>| {
            (observed.in_sync_for, observed.seen_for, observed.leading_for) = (in_sync, DAY, Some(Duration::ZERO));
        };
        assert_eq!(next(&published, just), expected, "{in_sync:?}");
    }
    let follower = |observed: &mut Observed<'_>| (observed.in_sync_for, observed.leading_for) = (Some(DAY), None);
    assert_eq!(next(&published, follower), Action::Keep);
}

#[test]
fn a_rotation_whose_bundle_is_never_in_sync_goes_on_before_the_old_ca_expires() {
    let at = |age| published(now() - DAY * age);
    assert_eq!(next(&at(82), |_| {}), Action::Keep);
    assert_eq!(next(&at(83), |_| {}), Action::Write(Change::Promote));
    let expired = at(100);
    assert_eq!(next(&expired, |_| {}), Action::Write(Change::Promote));
    let secret = found(Some(&expired));
    let restarted = Observed { held: None, ..leads(&secret, &expired) };
    assert_eq!(decide(&restarted), Action::Write(Change::New(3)));
}

#[test]
fn a_next_ca_that_has_grown_old_in_waiting_is_made_anew() {
    let stale = stable(1, now()).published(&names(), &Periods::default(), now() - DAY * 85).unwrap();
    assert_eq!(next(&stale, |_| {}), Action::Write(Change::Publish(Cause::Age)));
}

#[test]
fn the_old_ca_goes_when_every_replica_has_had_the_time_to_serve_the_new_one_or_when_it_has_expired() {
    let promoted = |age| published(now() - DAY * age).promoted().unwrap();
    let (retire, seconds) = (Action::Write(Change::Retire), Duration::from_secs);
    for (in_sync, seen, expected) in [
        (None, DAY, Action::Keep),
        (Some(seconds(60)), seconds(60), retire),
        // Whatever is written to the Secret meanwhile, replicas have to see that, too.
        (Some(DAY), seconds(59), Action::Keep),
        (Some(seconds(59)), DAY, Action::Keep),
    ] {
        let leads = |observed: &mut Observed<'_>| (observed.in_sync_for, observed.seen_for) = (in_sync, seen);
        assert_eq!(next(&promoted(60), leads), expected, "{in_sync:?} {seen:?}");
    }
    assert_eq!(next(&promoted(89), |_| {}), Action::Keep);
    assert_eq!(next(&promoted(90), |_| {}), retire);
}

#[test]
fn whatever_is_to_be_written_can_be_made() {
    let (stable, published) = (stable(1, now()), published(now()));
    let promoted = published.promoted().unwrap();
    let secret = found(Some(&promoted));
    let of = |change: Change, held: Option<&Authority>| {
        let observed = Observed { held, ..leads(&secret, &stable) };
        let made = apply(change, &observed, &names(), &Periods::default(), now()).unwrap();
        made.map(|made| made.rank())
    };
    assert_eq!(of(Change::New(5), None), Some((5, 1)));
    assert_eq!(of(Change::Salvage, None), Some((2, 0)));
    assert_eq!(of(Change::Back, None), None);
    assert_eq!(of(Change::Back, Some(&stable)), Some((1, 1)));
    assert_eq!(of(Change::Publish(Cause::Age), Some(&stable)), Some((1, 2)));
    assert_eq!(of(Change::Promote, Some(&published)), Some((2, 0)));
    assert_eq!(of(Change::Retire, Some(&promoted)), Some((2, 1)));
    assert_eq!(of(Change::Revoke, Some(&published)), Some((3, 1)));
}

#[test]
fn an_empty_secret_is_damaged_and_the_first_ca_is_the_first() {
    let (empty, unused) = (diagnose(&Data::new(), &names()), stable(1, now()));
    let observed = Observed { held: None, leading_for: None, is_trusted: false, ..leads(&empty, &unused) };
    assert_eq!(decide(&observed), Action::Write(Change::New(1)));
}

#[test]
fn a_replica_that_holds_nothing_leaves_it_to_others_to_write_back_what_api_servers_trust() {
    let unused = stable(1, now());
    // Of an authority that has expired in the Secret, another replica may hold the successor.
    for lost in [damaged(&stable(7, now())), found(Some(&stable(7, now() - Periods::default().ca * 2)))] {
        let at =
            |leading_for, seen_for| decide(&Observed { held: None, leading_for, seen_for, ..leads(&lost, &unused) });
        assert_eq!(at(None, DAY), Action::Keep);
        assert_eq!(at(Some(OTHERS_FIRST / 2), DAY), Action::Keep);
        // The others have as much time if it has led for long when something is lost.
        assert_eq!(at(Some(DAY), OTHERS_FIRST / 2), Action::Keep);
        assert_eq!(at(Some(OTHERS_FIRST), OTHERS_FIRST), Action::Write(Change::New(8)));
    }
}

#[test]
fn a_replica_that_holds_nothing_is_slow_to_adopt_what_api_servers_do_not_trust() {
    let (unused, old) = (stable(1, now()), found(Some(&stable(3, now()))));
    let at = |leading_for, seen_for, (is_trusted, is_found_trusted)| {
        let observed = leads(&old, &unused);
        decide(&Observed { held: None, leading_for, seen_for, is_trusted, is_found_trusted, ..observed })
    };
    let another = (true, false);
    assert_eq!(at(None, Duration::ZERO, another), Action::Keep);
    assert_eq!(at(Some(DAY), Duration::ZERO, another), Action::Keep);
    assert_eq!(at(None, LEADER_FIRST / 2, another), Action::Keep);
    for (leading_for, seen_for, trust) in [
        (Some(OTHERS_FIRST), OTHERS_FIRST, another),
        // No replica leads: nothing is served until one becomes the leader.
        (None, LEADER_FIRST, another),
        (None, Duration::ZERO, (true, true)),
        (None, Duration::ZERO, (false, false)),
    ] {
        assert_eq!(at(leading_for, seen_for, trust), Action::Adopt, "{leading_for:?} {seen_for:?} {trust:?}");
    }
}
