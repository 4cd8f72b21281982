//! Names of the Service that is served, and of the objects of its certificates.

/// Names of the Service, and of the objects of its certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    controller: String,
    namespace: String,
    cluster_domain: String,
}

impl Names {
    /// Names of the controller called `controller` in `namespace`, in a cluster whose DNS names end in
    /// `cluster_domain`.
    #[must_use]
    pub fn new(controller: &str, namespace: &str, cluster_domain: &str) -> Self {
        Self {
            controller: controller.to_owned(),
            namespace: namespace.to_owned(),
            cluster_domain: cluster_domain.trim_matches('.').to_owned(),
        }
    }

    /// Name of the controller and of its Service.
    #[must_use]
    pub fn controller(&self) -> &str {
        &self.controller
    }

    /// Namespace of the Service and of the Secret.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The DNS names of the Service.
    #[must_use]
    pub fn service(&self) -> [String; 4] {
        let Self { controller, namespace, cluster_domain } = self;
        [
            controller.clone(),
            format!("{controller}.{namespace}"),
            self.server_name(),
            format!("{controller}.{namespace}.svc.{cluster_domain}"),
        ]
    }

    /// The name that the API server verifies.
    #[must_use]
    pub fn server_name(&self) -> String {
        format!("{}.{}.svc", self.controller, self.namespace)
    }

    /// The Secret that holds the CA.
    #[must_use]
    pub fn secret(&self) -> String {
        format!("{}-webhook-ca", self.controller)
    }

    /// Both webhook configurations.
    #[must_use]
    pub fn configuration(&self) -> &str {
        &self.controller
    }

    /// Field manager that owns the CA bundles in the webhook configurations.
    #[must_use]
    pub fn field_manager(&self) -> String {
        format!("{}-ca-bundle", self.controller)
    }
}
