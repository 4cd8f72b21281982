//! The namespaces of this controller.

use std::collections::BTreeSet;
use std::fmt;

use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All, future ones included.
    #[default]
    All,
    /// These; at least one.
    Only(BTreeSet<String>),
}

impl Scope {
    /// The scope of those namespaces, or of all if none is named.
    pub(crate) fn of(namespaces: &[String]) -> Self {
        if namespaces.is_empty() { Self::All } else { Self::Only(namespaces.iter().cloned().collect()) }
    }

    pub(crate) fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(namespaces) => namespaces.contains(namespace),
        }
    }

    /// The APIs of one kind, each with its namespace; a single one without a namespace for all.
    pub(crate) fn apis<K>(&self, client: &Client) -> Vec<(Option<String>, Api<K>)>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match self {
            Self::All => vec![(None, Api::all(client.clone()))],
            Self::Only(namespaces) => namespaces
                .iter()
                .map(|namespace| (Some(namespace.clone()), Api::namespaced(client.clone(), namespace)))
                .collect(),
        }
    }
}

/// For logs: `all`, or the names with commas.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Only(namespaces) => {
                let names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_namespace_means_all_and_one_named_twice_counts_once() {
        assert_eq!(Scope::of(&[]), Scope::All);
        let scope = Scope::of(&["b", "a", "b"].map(str::to_owned));
        assert_eq!((scope.to_string().as_str(), Scope::All.to_string().as_str()), ("a,b", "all"));
    }
}
