//! Whatever is done to the Secret of the authority, the webhooks are served on and it is put right.

use std::time::{Duration, SystemTime};

use atomix_controller::tls::authority::Authority;
use atomix_controller::tls::{Names, Periods, stored};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::support::{SECRET, decoded, ground, metric};
use crate::wire::Wire;

/// How long putting it right may take: seconds, on a busy machine.
const SECONDS: Duration = Duration::from_secs(10);

fn rendered(authority: &Authority) -> Value {
    let data = stored::render(authority).into_iter();
    Value::Object(data.map(|(key, value)| (key, json!(STANDARD.encode(value.0)))).collect::<Map<_, _>>())
}

#[test]
fn a_spoilt_secret_is_written_back_from_memory() {
    let ground = ground();
    let _replicas = ground.replicas(2);
    let wire = Wire::start(&ground, 50, true);
    let good = ground.secret()["data"].clone();
    let names = Names::new("atomix-controller", "kube-system", "cluster.local");
    let expired = SystemTime::now() - Duration::from_secs(86400 * 200);
    let expired = Authority::mint(&names, 1, &Periods::default(), expired).expect("an authority");
    let another = Authority::mint(&names, 1, &Periods::default(), SystemTime::now()).expect("an authority");
    let with = |key: &str, value: Value| {
        let mut data = good.clone();
        data[key] = value;
        data
    };
    for (what, data) in [
        ("emptied", json!({})),
        ("garbled", with("current.crt", json!(STANDARD.encode("garbage")))),
        ("its key is another's", with("current.key", rendered(&another)["current.key"].clone())),
        ("expired", rendered(&expired)),
        ("without a generation", with("generation", json!(""))),
    ] {
        ground.replace_data(&data);
        let healed = ground.kubectl().try_wait_until(&SECRET, SECONDS, |found| found[0]["data"] == good);
        assert!(healed.is_ok(), "{what}: {healed:?}");
        ground.assert_admission_works();
    }
    let made = wire.finish();
    assert!(made.failed.is_empty() && made.changes == 0, "{made}: {:?}", made.failed.first());
    ground.await_event("CARestored", "the key does not belong to current.crt");
}

#[test]
fn a_deleted_secret_is_reported_and_filled_when_it_is_put_back() {
    let ground = ground();
    let replicas = ground.replicas(2);
    let good = ground.secret()["data"].clone();
    ground.kubectl().ok(&["delete", SECRET[0], SECRET[1]]);
    ground.await_event("CASecretMissing", "create secret generic atomix-controller-webhook-ca");
    ground.assert_admission_works();
    for replica in &replicas.controllers {
        assert_eq!(metric(replica, "atomix_ca_secret_missing"), 1);
    }
    // As the event says.
    ground.kubectl().ok(&["create", "secret", "generic", SECRET[1]]);
    ground.await_secret(|secret| secret["data"] == good);
    ground.assert_admission_works();
    assert_eq!(decoded(&ground.secret(), "generation"), "1");
}

#[test]
fn an_expired_authority_that_nobody_holds_is_replaced() {
    let ground = ground();
    let names = Names::new("atomix-controller", "kube-system", "cluster.local");
    let expired = SystemTime::now() - Duration::from_secs(86400 * 200);
    let expired = Authority::mint(&names, 6, &Periods::default(), expired).expect("an authority");
    ground.replace_data(&rendered(&expired));
    let _replicas = ground.replicas(1);
    ground.await_generation(7);
    ground.assert_admission_works();
}
