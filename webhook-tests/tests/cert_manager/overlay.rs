//! What the overlay makes of the one-file manifest.

use std::collections::BTreeMap;
use std::path::Path;

use atomix_controller::tls::Names;
use serde_json::{Value, json};
use webhook_tests::{Kubectl, MANIFEST, binaries, text};

use crate::support::{LEAF, OVERLAY, ROOT, ground};

/// Objects by kind and name.
type Objects = BTreeMap<(String, String), Value>;

/// The objects that kubectl would create, without defaults.
fn objects(kubectl: &Kubectl, flag: &str, what: &str) -> Objects {
    let what = binaries::workspace().join(Path::new(what));
    let printed = kubectl.ok(&["create", "--dry-run=client", "-o", "json", flag, &what.to_string_lossy()]);
    let documents = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
    documents
        .flat_map(|object| {
            let object = object.expect("JSON");
            object["items"].as_array().cloned().unwrap_or_else(|| vec![object])
        })
        .map(|object| (["/kind", "/metadata/name"].map(|field| text(&object, field).to_owned()).into(), object))
        .collect()
}

#[test]
fn only_what_has_to_do_with_the_certificates_differs_from_the_manifest() {
    let ground = ground();
    let kubectl = ground.control_plane.kubectl();
    let mut wanted = objects(kubectl, "-f", MANIFEST);
    let mut found = objects(kubectl, "-k", OVERLAY);
    let mut one = |kind: &str, name: &str| wanted.remove(&(kind.to_owned(), name.to_owned())).expect(kind);
    let (name, certificate) = ("atomix-controller", LEAF.secret);

    one("Secret", "atomix-controller-webhook-ca");
    let mut changed = Vec::new();
    let mut deployment = one("Deployment", name);
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array_mut().expect("arguments");
    arguments.push(format!("--webhook-certificate=secret:{certificate}").into());
    changed.push(deployment);
    let mut role = one("Role", name);
    role["rules"][0] = json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": [certificate], "verbs": ["list", "watch"]});
    changed.push(role);
    let mut role = one("ClusterRole", name);
    role["rules"][0]["verbs"] = json!(["list", "watch"]);
    assert_eq!(role["rules"][0]["apiGroups"], json!(["admissionregistration.k8s.io"]));
    changed.push(role);
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let mut configuration = one(kind, name);
        configuration["metadata"]["annotations"] =
            json!({"cert-manager.io/inject-ca-from": format!("kube-system/{}", ROOT.name)});
        changed.push(configuration);
    }
    for object in changed {
        wanted.insert(["/kind", "/metadata/name"].map(|field| text(&object, field).to_owned()).into(), object);
    }
    found.retain(|_, object| !text(object, "/apiVersion").starts_with("cert-manager.io/"));
    assert!(found.keys().eq(wanted.keys()), "{:?}", found.keys());
    for (key, object) in &found {
        assert_eq!(*object, wanted[key], "{key:?}");
    }
}

#[test]
fn certificates_are_for_the_names_of_the_service_only() {
    let ground = ground();
    let objects = objects(ground.control_plane.kubectl(), "-k", OVERLAY);
    let of = |name: &str| &objects[&("Certificate".to_owned(), name.to_owned())]["spec"];
    let names = json!(Names::new("atomix-controller", "kube-system", "cluster.local").service());
    assert_eq!(of(LEAF.name)["dnsNames"], names);
    assert_eq!(of(ROOT.name)["nameConstraints"], json!({"critical": true, "permitted": {"dnsDomains": names}}));
    for certificate in [LEAF, ROOT] {
        assert_eq!(of(certificate.name)["secretName"], certificate.secret);
        assert_eq!(
            objects[&("Issuer".to_owned(), certificate.name.to_owned())]["metadata"]["namespace"],
            "kube-system"
        );
    }
    // As the tests of renewals arrange it again and again.
    assert_eq!(of(ROOT.name)["privateKey"]["rotationPolicy"], "Never");
    assert_eq!(of(LEAF.name)["privateKey"]["rotationPolicy"], "Always");
    // Whatever an authority has signed ends before it does, even if it was signed in the last moment before the
    // authority was renewed.
    let hours =
        |value: &Value| -> u32 { value.as_str().and_then(|text| text.strip_suffix('h')?.parse().ok()).expect("hours") };
    assert!(hours(&of(ROOT.name)["renewBefore"]) >= hours(&of(LEAF.name)["duration"]));
    assert!(hours(&of(LEAF.name)["renewBefore"]) < hours(&of(LEAF.name)["duration"]));
}
