//! Which field manager has changed a CA bundle.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

/// The manager that changed one of the bundles of so many `webhooks`: another one than `own` that owns a bundle, or
/// `own`, that is, another replica, if it owns them all. Removing a bundle leaves no trace.
pub(super) fn last_writer<'a>(managers: &'a [ManagedFieldsEntry], own: &str, webhooks: usize) -> Option<&'a str> {
    let is_own = |entry: &&ManagedFieldsEntry| entry.manager.as_deref() == Some(own);
    let other = managers.iter().find(|entry| !is_own(entry) && owned_bundles(entry) > 0);
    let replica = || managers.iter().filter(is_own).find(|entry| owned_bundles(entry) >= webhooks);
    other.or_else(replica)?.manager.as_deref()
}

/// The manager as a label with few values: programs that often change webhook configurations have their own.
pub(super) fn label_of(manager: Option<&str>, own: &str) -> &'static str {
    const KNOWN: [(&str, &str); 7] = [
        ("kubectl", "kubectl"),
        ("argocd", "argocd"),
        ("kustomize-controller", "flux"),
        ("helm-controller", "flux"),
        ("helm", "helm"),
        ("cert-manager", "cert-manager"),
        ("terraform", "terraform"),
    ];
    match manager {
        None => "unknown",
        Some(manager) if manager == own => "replica",
        Some(manager) => {
            let known = KNOWN.iter().find(|(start, _)| manager.to_ascii_lowercase().starts_with(start));
            known.map_or("other", |(_, label)| label)
        }
    }
}

fn owned_bundles(entry: &ManagedFieldsEntry) -> usize {
    let webhooks = entry.fields_v1.as_ref().and_then(|fields| fields.0.get("f:webhooks")?.as_object());
    let owned = |webhook: &&Value| webhook.pointer("/f:clientConfig/f:caBundle").is_some();
    webhooks.map_or(0, |webhooks| webhooks.values().filter(owned).count())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(manager: &str, fields: &Value) -> ManagedFieldsEntry {
        serde_json::from_value(json!({ "manager": manager, "fieldsV1": fields })).unwrap()
    }

    #[test]
    fn the_manager_that_owns_the_bundle_is_named() {
        let bundle = json!({ "f:webhooks": { "k:{\"name\":\"w\"}": { "f:clientConfig": { "f:caBundle": {} } } } });
        let other = json!({ "f:webhooks": { "k:{\"name\":\"w\"}": { "f:rules": {} } } });
        let own = entry("keeper-ca-bundle", &bundle);
        let gitops = entry("gitops", &bundle);
        let kubectl = entry("kubectl-edit", &other);
        let early = entry("installer", &other);
        let of = |webhooks: usize, managers: &[&ManagedFieldsEntry]| {
            let managers: Vec<_> = managers.iter().map(|&entry| entry.clone()).collect();
            last_writer(&managers, "keeper-ca-bundle", webhooks).map(ToOwned::to_owned)
        };
        let named = |managers: &[&ManagedFieldsEntry]| of(2, managers);
        assert_eq!(named(&[&own, &early, &gitops, &kubectl]).as_deref(), Some("gitops"));
        assert_eq!(named(&[&own, &kubectl, &early]), None);
        assert_eq!(of(1, &[&own, &kubectl]).as_deref(), Some("keeper-ca-bundle"));
    }

    #[test]
    fn managers_are_counted_under_few_names() {
        for (manager, label) in [
            (None, "unknown"),
            (Some("keeper-ca-bundle"), "replica"),
            (Some("kubectl-client-side-apply"), "kubectl"),
            (Some("argocd-controller"), "argocd"),
            (Some("Helm"), "helm"),
            (Some("helm-controller"), "flux"),
            (Some("cert-manager-cainjector"), "cert-manager"),
            (Some("else"), "other"),
        ] {
            assert_eq!(label_of(manager, "keeper-ca-bundle"), label, "{manager:?}");
        }
    }
}
