use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::binaries::{self, workspace};
use crate::control_plane::ControlPlane;
use crate::controller::{Controller, Ports, StartOptions};
use crate::guarded::Guarded;
use crate::kubectl::Kubectl;
use crate::replicas::Replicas;
use crate::unique::free_port;

/// The one-file install, relative to the root of the workspace.
pub const MANIFEST: &str = "deploy/atomix-controller.yaml";

const NAMESPACE: &str = "kube-system";
const NAME: &str = "atomix-controller";
const CONFIGURATIONS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];

/// The shipped manifest on a control plane, arranged so that its webhooks reach
/// processes of this machine instead of pods.
///
/// Only this differs from what is shipped: the Deployment has no replicas, the
/// Service is an alias of localhost, and the webhooks name the port on which a
/// controller listens here. What runs as a controller gets the arguments and
/// the environment of the shipped Deployment, and the rights of the shipped
/// `ServiceAccount`.
#[derive(Debug)]
pub struct Installation {
    name: String,
    kubectl: Kubectl,
    dir: PathBuf,
    webhook_port: u16,
    container: Value,
    printed: String,
    started: Arc<AtomicU32>,
}

impl Installation {
    /// Installs the manifest.
    ///
    /// # Errors
    ///
    /// If the API server refuses any of it, or an object that the manifest
    /// should hold is not there.
    pub fn new(control_plane: &ControlPlane) -> Result<Self> {
        Self::of_manifest(control_plane, &workspace().join(MANIFEST))
    }

    /// Installs the manifest of another version.
    ///
    /// # Errors
    ///
    /// As for [`Installation::new`].
    pub fn of_manifest(control_plane: &ControlPlane, manifest: &Path) -> Result<Self> {
        Self::create(control_plane, NAME, NAMESPACE, &["-f", &manifest.to_string_lossy()])
    }

    /// Installs what the kustomization in the directory `overlay` makes of the
    /// manifest: a controller called `name` in `namespace`.
    ///
    /// # Errors
    ///
    /// As for [`Installation::new`].
    pub fn of_kustomization(control_plane: &ControlPlane, overlay: &Path, name: &str, namespace: &str) -> Result<Self> {
        Self::create(control_plane, name, namespace, &["-k", &overlay.to_string_lossy()])
    }

    /// Arranges what a test has installed by itself from the manifest.
    ///
    /// # Errors
    ///
    /// As for [`Installation::new`].
    pub fn of_installed(control_plane: &ControlPlane) -> Result<Self> {
        Self::of_installed_in(control_plane, NAME, NAMESPACE)
    }

    /// The same for a controller called `name` in `namespace`.
    ///
    /// # Errors
    ///
    /// As for [`Installation::new`].
    pub fn of_installed_in(control_plane: &ControlPlane, name: &str, namespace: &str) -> Result<Self> {
        Self::arrange(control_plane, name, namespace, String::new())
    }

    fn create(control_plane: &ControlPlane, name: &str, namespace: &str, what: &[&str]) -> Result<Self> {
        let printed = control_plane.kubectl().attempt(&[&["create"], what].concat())?;
        Self::arrange(control_plane, name, namespace, printed)
    }

    fn arrange(control_plane: &ControlPlane, name: &str, namespace: &str, printed: String) -> Result<Self> {
        let kubectl = control_plane.kubectl().in_namespace(namespace);
        kubectl.attempt(&["scale", "deployment", name, "--replicas=0"])?;

        // An alias has none of the fields that a Service with an address has.
        let alias = json!({"spec": {
            "type": "ExternalName", "externalName": "localhost",
            "clusterIP": null, "clusterIPs": null, "ports": null, "selector": null,
            "ipFamilies": null, "ipFamilyPolicy": null, "internalTrafficPolicy": null,
        }});
        kubectl.attempt(&["patch", "service", name, "--type=merge", "-p", &alias.to_string()])?;

        let webhook_port = free_port();
        for kind in CONFIGURATIONS {
            point_webhooks(&kubectl, kind, name, webhook_port)?;
        }

        let container = installed_container(&kubectl, name)?;
        Ok(Self {
            name: name.to_owned(),
            kubectl,
            dir: control_plane.dir().to_owned(),
            webhook_port,
            container,
            printed,
            started: Arc::default(),
        })
    }

    /// Applies the manifest of another version over this one, as an upgrade does. The webhooks name the same port
    /// throughout. What is started by the result gets the arguments of that manifest.
    ///
    /// # Errors
    ///
    /// If the API server refuses any of it.
    pub fn upgraded(&self, manifest: &Path) -> Result<Self> {
        let read = ["create", "--dry-run=client", "-o", "json", "-f", &manifest.to_string_lossy()];
        let printed = self.kubectl.attempt(&read)?;
        let documents = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
        let mut objects: Vec<Value> = documents.collect::<Result<_, _>>()?;
        // What `arrange` made an alias stays one.
        objects.retain(|object| object["kind"] != "Service");
        for object in &mut objects {
            if object["kind"] == "Deployment" {
                object["spec"]["replicas"] = 0.into();
            }
            for webhook in object.get_mut("webhooks").and_then(Value::as_array_mut).into_iter().flatten() {
                webhook["clientConfig"]["service"]["port"] = self.webhook_port.into();
            }
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let applied = self.kubectl.feed(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &list);
        ensure!(applied.status.success(), "{}", applied.stderr);
        Ok(Self {
            name: self.name.clone(),
            kubectl: self.kubectl.clone(),
            dir: self.dir.clone(),
            webhook_port: self.webhook_port,
            container: installed_container(&self.kubectl, &self.name)?,
            printed: applied.stdout,
            started: Arc::clone(&self.started),
        })
    }

    /// How the audit log names the user that the controllers are.
    #[must_use]
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.kubectl.namespace(), self.name)
    }

    /// Makes the webhook configurations again that a client has deleted.
    ///
    /// # Errors
    ///
    /// If they cannot be made.
    pub fn restore_webhooks(&self) -> Result<()> {
        let manifest = workspace().join(MANIFEST);
        // Everything else is still there, which kubectl calls a failure.
        let _ = self.kubectl.run(&["create", "-f", &manifest.to_string_lossy()]);
        CONFIGURATIONS.iter().try_for_each(|kind| point_webhooks(&self.kubectl, kind, &self.name, self.webhook_port))
    }

    /// What kubectl printed when it created the objects of the manifest.
    #[must_use]
    pub fn printed(&self) -> &str {
        &self.printed
    }

    /// The port that the installed webhooks name.
    #[must_use]
    pub fn webhook_port(&self) -> u16 {
        self.webhook_port
    }

    /// A kubectl whose default namespace is the controller's.
    #[must_use]
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// The container of the shipped Deployment.
    #[must_use]
    pub fn container(&self) -> &Value {
        &self.container
    }

    /// Starts a controller on the port that the webhooks name; it is ready
    /// some time later: see [`Controller::wait_ready`].
    ///
    /// # Errors
    ///
    /// As for [`Installation::start_with`].
    pub fn start(&self) -> Result<Controller> {
        self.start_with(StartOptions::default())
    }

    /// Starts a controller. Each has a name, a token and a log of its own.
    ///
    /// # Errors
    ///
    /// If it does not compile, or its `ServiceAccount` gets no token, or the
    /// Deployment takes something from its pod that is not known here.
    pub fn start_with(&self, options: StartOptions) -> Result<Controller> {
        let program = match &options.program {
            Some(program) => program,
            None => binaries::controller()?,
        };
        let name = format!("{}-{}", self.name, self.started.fetch_add(1, Ordering::Relaxed));
        let webhook = options.webhook_port.unwrap_or(self.webhook_port);
        let ports = Ports { webhook, metrics: free_port(), grpc: free_port() };

        let kubeconfig = self.dir.join(format!("{name}.kubeconfig"));
        fs::write(&kubeconfig, self.kubeconfig(options.server.as_deref())?.to_string())?;

        let mut environment = self.environment(&name)?;
        environment.push(("KUBECONFIG".to_owned(), kubeconfig.to_string_lossy().into_owned()));
        environment.push(("RUST_BACKTRACE".to_owned(), "1".to_owned()));
        environment.extend(options.environment);
        let mut arguments = self.arguments(&environment);
        // A flag that is given twice has its last value.
        arguments.push(format!("--webhook-address=127.0.0.1:{}", ports.webhook));
        arguments.push(format!("--metrics-address=127.0.0.1:{}", ports.metrics));
        arguments.push(format!("--grpc-address=127.0.0.1:{}", ports.grpc));
        // No other code uses it: no test but those of the drain gains by waiting.
        arguments.push("--drain=0s".to_owned());
        arguments.extend(options.arguments);

        let log = self.dir.join("logs").join(format!("{name}.log"));
        let process = Guarded::start(program, &arguments, &environment, &log)?;
        Ok(Controller::new(process, name, log, ports))
    }

    /// Starts several controllers behind a balancer on the port that the
    /// webhooks name, and returns when all get connections. While they run, no
    /// other controller can have that port.
    ///
    /// # Errors
    ///
    /// As for [`Installation::replicas_with`].
    pub fn replicas(&self, count: usize) -> Result<Replicas<'_>> {
        self.replicas_with(count, StartOptions::default(), Duration::ZERO)
    }

    /// As [`Installation::replicas`], with options for each of them and with a
    /// balancer that observes changes `lag` late. Each has a port of its own.
    ///
    /// # Errors
    ///
    /// If one does not start, or they are not all ready in three minutes.
    pub fn replicas_with(&self, count: usize, options: StartOptions, lag: Duration) -> Result<Replicas<'_>> {
        Replicas::start(self, count, options, lag)
    }

    /// A kubeconfig with a new token of the `ServiceAccount`, as JSON (which is
    /// YAML as well). Never the administrator: mistakes in RBAC would not show.
    fn kubeconfig(&self, server: Option<&str>) -> Result<Value> {
        let admin: Value = serde_json::from_str(&self.kubectl.attempt(&["config", "view", "--raw", "-o", "json"])?)?;
        let (name, namespace) = (self.name.as_str(), self.kubectl.namespace());
        let mut cluster = admin["clusters"][0]["cluster"].clone();
        if let Some(server) = server {
            cluster["server"] = server.into();
        }
        let token = self.kubectl.attempt(&["create", "token", name, "--duration=24h"])?;
        Ok(json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token.trim()}}],
        }))
    }

    fn environment(&self, pod: &str) -> Result<Vec<(String, String)>> {
        let variables = self.container["env"].as_array().map(Vec::as_slice).unwrap_or_default();
        variables
            .iter()
            .map(|variable| {
                let name = variable["name"].as_str().context("a variable without a name")?;
                let field = variable.pointer("/valueFrom/fieldRef/fieldPath").and_then(Value::as_str);
                let value = match field {
                    Some("metadata.name") => pod,
                    Some("metadata.namespace") => self.kubectl.namespace(),
                    Some("spec.serviceAccountName") => &self.name,
                    Some("spec.nodeName") => "node-a",
                    Some("status.podIP" | "status.hostIP") => "127.0.0.1",
                    Some(other) => bail!("{name}: the field {other} is not known to the tests"),
                    None if !variable["valueFrom"].is_null() => bail!("{name}: only fieldRef is known to the tests"),
                    None => variable["value"].as_str().unwrap_or_default(),
                };
                Ok((name.to_owned(), value.to_owned()))
            })
            .collect()
    }

    /// The shipped arguments, with `$(NAME)` replaced as a kubelet does.
    fn arguments(&self, environment: &[(String, String)]) -> Vec<String> {
        let shipped = self.container["args"].as_array().map(Vec::as_slice).unwrap_or_default();
        shipped
            .iter()
            .filter_map(Value::as_str)
            .map(|argument| {
                environment
                    .iter()
                    .fold(argument.to_owned(), |argument, (name, value)| argument.replace(&format!("$({name})"), value))
            })
            .collect()
    }
}

/// The container of the Deployment as the cluster has it.
fn installed_container(kubectl: &Kubectl, name: &str) -> Result<Value> {
    let deployment: Value = serde_json::from_str(&kubectl.attempt(&["get", "deployment", name, "-o", "json"])?)?;
    Ok(deployment["spec"]["template"]["spec"]["containers"][0].clone())
}

/// Changes one field of every webhook, and tests that each is where it was.
fn point_webhooks(kubectl: &Kubectl, kind: &str, name: &str, port: u16) -> Result<()> {
    let configuration: Value = serde_json::from_str(&kubectl.attempt(&["get", kind, name, "-o", "json"])?)?;
    let webhooks = configuration["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let patch: Vec<Value> = webhooks
        .iter()
        .enumerate()
        .flat_map(|(index, webhook)| {
            [
                json!({"op": "test", "path": format!("/webhooks/{index}/name"), "value": webhook["name"]}),
                json!({"op": "add", "path": format!("/webhooks/{index}/clientConfig/service/port"), "value": port}),
            ]
        })
        .collect();
    if patch.is_empty() {
        bail!("{kind} {name} has no webhooks");
    }
    kubectl.attempt(&["patch", kind, name, "--type=json", "-p", &Value::Array(patch).to_string()])?;
    Ok(())
}
