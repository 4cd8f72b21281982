//! Which objects to watch, from the arguments of `kubectl get` to the path of
//! the API server.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::kubectl::Kubectl;

/// What to watch, from arguments in the style of `kubectl get`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    resource: String,
    /// `None` for all.
    namespace: Option<String>,
    labels: Option<String>,
    fields: Option<String>,
}

impl Selection {
    pub(crate) fn parse(arguments: &[&str], namespace: &str) -> Result<Self> {
        let mut resource = None;
        let mut name = None;
        let mut parsed =
            Self { resource: String::new(), namespace: Some(namespace.to_owned()), labels: None, fields: None };
        let mut rest = arguments.iter().copied();
        while let Some(argument) = rest.next() {
            if !argument.starts_with('-') {
                match argument.split_once('/') {
                    Some((kind, one)) if resource.is_none() => {
                        resource = Some(kind.to_owned());
                        name = Some(one.to_owned());
                    }
                    None if resource.is_none() => resource = Some(argument.to_owned()),
                    None if name.is_none() => name = Some(argument.to_owned()),
                    _ => bail!("unexpected argument {argument}"),
                }
                continue;
            }
            if matches!(argument, "-A" | "--all-namespaces") {
                parsed.namespace = None;
                continue;
            }
            let (flag, value) = match argument.split_once('=') {
                Some((flag, value)) => (flag, value),
                None => (argument, rest.next().with_context(|| format!("{argument} needs a value"))?),
            };
            match flag {
                "-n" | "--namespace" => parsed.namespace = Some(value.to_owned()),
                "-l" | "--selector" => parsed.labels = Some(value.to_owned()),
                "--field-selector" => parsed.fields = Some(value.to_owned()),
                _ => bail!("{flag} is not understood here: use -n, -A, -l or --field-selector"),
            }
        }
        parsed.resource = resource.context("no resource is named")?;
        if let Some(name) = name {
            let fields = parsed.fields.map(|fields| format!(",{fields}")).unwrap_or_default();
            parsed.fields = Some(format!("metadata.name={name}{fields}"));
        }
        Ok(parsed)
    }

    /// The path of the watch, which begins with what is there already.
    ///
    /// # Errors
    ///
    /// If the API server does not have the resource (yet).
    pub(crate) fn path(&self, kubectl: &Kubectl) -> Result<String> {
        Ok(self.path_of(&Served::find(kubectl, &self.resource)?))
    }

    fn path_of(&self, served: &Served) -> String {
        let root = if served.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", served.group) };
        let namespace = match &self.namespace {
            Some(namespace) if served.namespaced => format!("/namespaces/{namespace}"),
            _ => String::new(),
        };
        let mut path = format!(
            "{root}/{}{namespace}/{}?watch=true&allowWatchBookmarks=true\
             &sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            served.version, served.plural
        );
        for (name, value) in [("labelSelector", &self.labels), ("fieldSelector", &self.fields)] {
            if let Some(value) = value {
                path.push('&');
                path.push_str(name);
                path.push('=');
                path.push_str(&escaped(value));
            }
        }
        path
    }
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// How the API server calls a resource.
#[derive(Debug, Clone)]
struct Served {
    group: String,
    version: String,
    plural: String,
    namespaced: bool,
}

impl Served {
    fn find(kubectl: &Kubectl, resource: &str) -> Result<Self> {
        static KNOWN: LazyLock<Mutex<HashMap<(PathBuf, String), Served>>> = LazyLock::new(Mutex::default);
        let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kubectl.kubeconfig().to_owned(), resource.to_owned());
        if let Some(served) = known().get(&key) {
            return Ok(served.clone());
        }
        let output = kubectl.run(&["api-resources", "-o", "json"]);
        // It fails if any group cannot be discovered, and prints the others.
        let list: Value = serde_json::from_str(&output.stdout).with_context(|| output.stderr.clone())?;
        let served = list["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .find_map(|entry| Self::matching(entry, resource))
            .with_context(|| format!("the API server has no resource {resource}; {}", output.stderr))?;
        known().insert(key, served.clone());
        Ok(served)
    }

    fn matching(entry: &Value, resource: &str) -> Option<Self> {
        let (wanted, wanted_group) = match resource.split_once('.') {
            Some((name, group)) => (name, Some(group)),
            None => (resource, None),
        };
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        let named = text("name") == wanted
            || text("singularName") == wanted
            || text("kind").eq_ignore_ascii_case(wanted)
            || entry["shortNames"].as_array().into_iter().flatten().any(|short| short == wanted);
        let in_group = wanted_group.is_none_or(|group| group == text("group"));
        (named && in_group).then(|| Self {
            group: text("group").to_owned(),
            version: text("version").to_owned(),
            plural: text("name").to_owned(),
            namespaced: entry["namespaced"] == true,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Selection, Served, escaped};

    fn selection(arguments: &[&str]) -> Selection {
        Selection::parse(arguments, "here").expect("valid arguments")
    }

    #[test]
    fn understands_the_arguments_of_kubectl_get() {
        let one = selection(&["pods/web-0", "-n", "there"]);
        assert_eq!(one, selection(&["pods", "web-0", "--namespace=there"]));
        assert_eq!(one.fields.as_deref(), Some("metadata.name=web-0"));
        assert_eq!(selection(&["pods", "-A"]).namespace, None);
        assert_eq!(selection(&["pods"]).namespace.as_deref(), Some("here"));
    }

    #[test]
    fn refuses_arguments_that_it_would_ignore() {
        for arguments in [&["pods", "--sort-by=.metadata.name"][..], &["pods", "a", "b"], &["-A"], &["pods", "-n"]] {
            assert!(Selection::parse(arguments, "here").is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn leaves_the_namespace_out_of_cluster_scoped_paths() {
        let served = Served { group: String::new(), version: "v1".into(), plural: "nodes".into(), namespaced: false };
        assert!(selection(&["nodes"]).path_of(&served).starts_with("/api/v1/nodes?watch=true&"));
    }

    #[test]
    fn escapes_selectors() {
        assert_eq!(escaped("a in (b,c)"), "a%20in%20%28b%2Cc%29");
    }

    #[test]
    fn finds_resources_by_every_name() {
        let entry = json!({"name": "deployments", "singularName": "deployment", "namespaced": true,
            "group": "apps", "version": "v1", "kind": "Deployment", "shortNames": ["deploy"]});
        for name in ["deployments", "deployment", "deploy", "Deployment", "deployments.apps"] {
            assert!(Served::matching(&entry, name).is_some(), "{name}");
        }
        assert!(Served::matching(&entry, "deployments.extensions").is_none());
    }
}
