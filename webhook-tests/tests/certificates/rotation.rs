//! One authority follows the other, and no request fails.

use std::time::{Duration, SystemTime};

use atomix_controller::tls::authority::Authority;
use atomix_controller::tls::{Names, Periods, stored};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::load::{Load, failed, summary};
use crate::support::{CONFIGURATIONS, decoded, ground, metric, quick};
use crate::wire::Wire;

const ROTATIONS: u64 = 20;
/// Connections a second that are begun, each with a whole handshake.
const CONNECTIONS_PER_SECOND: u32 = 200;
/// Fewer prove nothing. An idle machine makes some thousands while twenty authorities follow each other.
const FEWEST_CONNECTIONS: usize = 1000;
const FEWEST_CREATES: usize = 200;

#[test]
fn twenty_rotations_under_load_fail_no_request() {
    let ground = ground();
    let replicas = ground.replicas(2);
    let load = Load::start(&ground.control_plane, 2);
    let wire = Wire::start(&ground, CONNECTIONS_PER_SECOND, true);
    let mut authorities = vec![ground.stored("current.crt")];
    for generation in 2..=ROTATIONS + 1 {
        ground.annotate(&format!("k8s.atomix.io/rotate-ca=the {generation}th"));
        let secret = ground.await_generation(generation);
        assert!(secret["metadata"]["annotations"]["k8s.atomix.io/rotate-ca"].is_null(), "{:#}", secret["metadata"]);
        let authority = decoded(&secret, "current.crt");
        assert!(!authorities.contains(&authority));
        assert!(secret["data"]["previous.crt"].is_null() && secret["data"]["next.key"].is_null());
        authorities.push(authority);
    }
    load.await_answers(FEWEST_CREATES);
    wire.await_connections(FEWEST_CONNECTIONS);
    let made = wire.finish();
    let sent = load.finish();
    println!("{ROTATIONS} rotations; {made}; creates: {}", summary(&sent));
    assert!(made.failed.is_empty(), "{}", made.failed[0]);
    assert!(failed(&sent).is_empty(), "{:#?}", failed(&sent)[0]);
    assert!(made.connections >= FEWEST_CONNECTIONS, "{made}");
    assert!(made.changes as u64 >= ROTATIONS, "{made}");
    let last = authorities.last().expect("one");
    for kind in CONFIGURATIONS {
        ground.await_bundle(kind, last);
    }
    let retired: u64 = replicas
        .controllers
        .iter()
        .map(|replica| metric(replica, r#"atomix_ca_changes_total{change="retired"}"#))
        .sum();
    assert_eq!(retired, ROTATIONS);
    ground.await_event("CARotated", "only CA 21 is trusted");
}

#[test]
fn after_a_revocation_nothing_of_before_is_trusted_and_nothing_waits() {
    let ground = ground();
    let _replicas = ground.replicas(2);
    let before = ground.stored("current.crt");
    ground.annotate("k8s.atomix.io/revoke-ca=the key was seen in a log");
    let secret = ground.await_generation(2);
    assert!(secret["metadata"]["annotations"]["k8s.atomix.io/revoke-ca"].is_null());
    let after = decoded(&secret, "current.crt");
    for kind in CONFIGURATIONS {
        ground.await_bundle(kind, &after);
    }
    assert!(!after.contains(&before));
    ground.assert_admission_works();
    ground.await_event("CARevoked", "the key was seen in a log");
}

#[test]
fn an_authority_of_an_earlier_version_that_lives_for_years_is_replaced_while_it_serves() {
    let ground = ground();
    let names = Names::new("atomix-controller", "kube-system", "cluster.local");
    let ten_years = Periods { ca: Duration::from_secs(10 * 365 * 86400), ..Periods::default() };
    let old = Authority::mint(&names, 1, &ten_years, SystemTime::now()).expect("an authority");
    let data: serde_json::Map<String, Value> =
        stored::render(&old).into_iter().map(|(key, value)| (key, json!(STANDARD.encode(value.0)))).collect();
    ground.replace_data(&Value::Object(data));
    let mut controller = ground.installation.start_with(quick(&[])).expect("a controller");
    controller.wait_ready().expect("a ready controller");
    ground.await_event("CARotationBegun", "it would live longer");
    ground.await_generation(2);
    ground.assert_admission_works();
}
