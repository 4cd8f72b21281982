//! Certificates are renewed, and nobody notices.

use std::time::{Duration, Instant};

use crate::load::{self, Load};
use crate::support::{Arrangement, CONFIGURATIONS, Ground, LEAF, ROOT, SHIPPED, bundles, first, ground};
use crate::wire::{self, Wire};

/// Creations in all.
const MIN_CREATIONS: usize = 200;
/// New connections in all.
const MIN_CONNECTIONS: usize = 200;
/// Longer than it takes on a busy machine until a new authority is trusted.
const MOMENT: Duration = Duration::from_secs(60);

/// What became of requests while `renewals` went on.
fn under_load(ground: &Ground, renewals: impl FnOnce(&Wire)) -> (load::Outcome, wire::Outcome) {
    let replicas = ground.replicas();
    ground.assert_admission_works();
    let load = Load::start(&ground.control_plane);
    let wire = Wire::start(ground, &replicas);
    let begun = Instant::now();
    renewals(&wire);
    let took = begun.elapsed();
    load.await_answers(MIN_CREATIONS);
    wire.await_connections(MIN_CONNECTIONS);
    let outcomes = (load.finish(), wire.finish());
    println!("renewed in {took:.1?}, {} connections", outcomes.1.made);
    ground.assert_admission_works();
    outcomes
}

#[track_caller]
fn assert_unnoticed((load, wire): (load::Outcome, wire::Outcome)) {
    assert!(load.failed.is_empty(), "{} of {}: {}", load.failed.len(), load.answered, load.failed[0]);
    let failed = &wire.failed;
    assert!(failed.is_empty(), "{} of {} in {:?}: {}", failed.len(), wire.made, wire.longest, failed[0]);
    assert!(load.answered >= MIN_CREATIONS, "{} creations", load.answered);
    assert!(wire.made >= MIN_CONNECTIONS, "{} connections", wire.made);
}

/// The certificate, then its authority, then the certificate by the other authority.
fn renew_everything(ground: &Ground, wire: &Wire) {
    let by_old = first(&ground.renew(LEAF));
    wire.await_leaf(&by_old);
    renew_authority(ground, wire, &by_old);
}

/// The authority, then the certificate that is served.
fn renew_authority(ground: &Ground, wire: &Wire, by_old: &[u8]) {
    let authority = ground.renew(ROOT);
    wire.await_trust(&authority);
    wire.await_leaf(by_old);
    wire.await_leaf(&first(&ground.renew(LEAF)));
    assert_eq!(ground.stored(LEAF, "ca.crt"), authority);
}

#[test]
fn renewals_of_certificate_and_authority_fail_no_request() {
    let mut ground = ground();
    ground.arrange(SHIPPED);
    let key = ground.stored(ROOT, "tls.key");
    assert_unnoticed(under_load(&ground, |wire| renew_everything(&ground, wire)));
    assert_eq!(ground.stored(ROOT, "tls.key"), key);
    assert_rights_suffice(&ground);
}

#[test]
fn an_authority_with_a_new_key_is_trusted_before_it_signs() {
    let mut ground = ground();
    ground.arrange(Arrangement { new_key: true, ..SHIPPED });
    let (key, leaf) = (ground.stored(ROOT, "tls.key"), first(&ground.stored(LEAF, "tls.crt")));
    assert_unnoticed(under_load(&ground, |wire| renew_authority(&ground, wire, &leaf)));
    assert_ne!(ground.stored(ROOT, "tls.key"), key);
}

#[test]
fn an_injector_that_forgets_the_old_authority_does_no_harm_while_its_key_stays() {
    let mut ground = ground();
    ground.arrange(Arrangement { merges: false, ..SHIPPED });
    let leaf = first(&ground.stored(LEAF, "tls.crt"));
    assert_unnoticed(under_load(&ground, |wire| renew_authority(&ground, wire, &leaf)));
}

#[test]
fn a_leaked_authority_is_replaced_and_forgotten_without_a_failed_request() {
    let mut ground = ground();
    ground.arrange(SHIPPED);
    assert_unnoticed(under_load(&ground, |wire| {
        let leaked = ["tls.crt", "tls.key"].map(|key| ground.stored(ROOT, key));
        ground.kubectl().ok(&["delete", "secret", ROOT.secret]);
        let authority = ground.await_other(ROOT, &leaked[0]);
        assert_ne!(ground.stored(ROOT, "tls.key"), leaked[1]);
        wire.await_trust(&authority);
        let leaf = first(&ground.renew(LEAF));
        wire.await_leaf(&leaf);
        ground.trust_only(&authority);
        wire.await_leaf(&leaf);
        for kind in CONFIGURATIONS {
            let trusted = bundles(&ground.kubectl().get_json(&[kind, "atomix-controller"]));
            assert!(trusted.iter().all(|bundle| *bundle == authority), "{trusted:?}");
        }
    }));
}

/// As cert-manager's documentation has it: certificate and trust change at the same time.
#[test]
fn a_certificate_waits_until_its_authority_is_trusted() {
    let mut ground = ground();
    ground.arrange(Arrangement { new_key: true, injected: LEAF, merges: true });
    assert_unnoticed(under_load(&ground, |wire| renew_both(&ground, wire)));
}

/// What it costs where nothing overlaps, and the reason why that is not what is shipped.
#[test]
fn an_injector_that_forgets_the_old_authority_costs_a_moment_if_the_key_does_not_stay() {
    let mut ground = ground();
    ground.arrange(Arrangement { new_key: true, injected: LEAF, merges: false });
    let (load, wire) = under_load(&ground, |wire| renew_both(&ground, wire));
    println!("{} of {} connections failed, for {:?}", wire.failed.len(), wire.made, wire.longest);
    println!("{} of {} creations failed", load.failed.len(), load.answered);
    assert!(wire.longest < MOMENT, "{:?}: {:?}", wire.longest, wire.failed.first());
}

/// The authority and at once the certificate, whose authority is injected.
fn renew_both(ground: &Ground, wire: &Wire) {
    let authority = ground.renew(ROOT);
    let leaf = first(&ground.renew(LEAF));
    wire.await_trust(&authority);
    wire.await_leaf(&leaf);
}

/// That the controller asks for nothing that it may not, and for no other Secret.
#[track_caller]
fn assert_rights_suffice(ground: &Ground) {
    let audit = ground.control_plane.audit_stages_of(&ground.installation.user());
    let refused: Vec<_> = audit.iter().filter(|entry| matches!(entry.code, 401 | 403)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let secrets: Vec<_> = audit.iter().filter(|entry| entry.resource == "secrets").collect();
    assert!(!secrets.is_empty() && secrets.iter().all(|entry| entry.uri.contains(LEAF.secret)), "{secrets:#?}");
}
