use crate::kubectl::Kubectl;
use crate::unique::suffix;

/// A namespace of one test, deleted (without waiting for it) at the end.
#[derive(Debug)]
pub struct Namespace {
    kubectl: Kubectl,
    name: String,
}

impl Namespace {
    /// Creates the namespace `<prefix>-<random>`.
    ///
    /// # Panics
    ///
    /// If the API server refuses it.
    #[must_use]
    pub fn new(kubectl: &Kubectl, prefix: &str) -> Self {
        let name = format!("{prefix}-{}", suffix());
        kubectl.ok(&["create", "namespace", &name]);
        Self { kubectl: kubectl.clone(), name }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A kubectl whose default namespace this is.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        self.kubectl.in_namespace(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It may be gone already, and so may the control plane.
        let _ = self.kubectl.run(&["delete", "namespace", &self.name, "--wait=false", "--ignore-not-found"]);
    }
}
