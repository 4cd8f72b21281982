//! The command line: what can be run, and how it is told what to do.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::api::canary;
use crate::commands::check::Check;
use crate::commands::groups::Groups;
use crate::controller::{Images, Settings};
use crate::grpc::Access;
use crate::grpc::tls::Sources;
use crate::rules::duration;
use crate::rules::syntax::{is_dns_1035_label, is_dns_1123_subdomain};
use crate::scope::Scope;
use crate::tls::source::Source;
use crate::tls::{ClientAuthentication, Mode, Periods};

/// Longest name of a controller: it is the first part of the label `<name>.k8s.atomix.io` of its EndpointSlices, and a
/// label's value has at most 63 characters.
const MAX_CONTROLLER_NAME: usize = 63 - ".k8s.atomix.io".len();
/// Longest name of a namespace.
const MAX_NAMESPACE: usize = 63;
/// Longest drain; a pod's grace period ends it earlier by default.
const MAX_DRAIN: Duration = Duration::from_secs(300);
/// Longest wait for API servers.
const MAX_HOLD_DOWN: Duration = Duration::from_secs(24 * 60 * 60);

/// Runs Atomix partition groups on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "atomix-controller", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the admission webhooks and run the controllers.
    Run(Box<Run>),
    /// Print the CustomResourceDefinitions as YAML.
    Crds,
    /// Say which layer is wrong when the API server gets no answer of the webhooks: Secret, Service, certificate, trust,
    /// reachability. With the rights of whoever asks.
    Check(Box<Check>),
    /// List, show, create and delete partition groups over the Atomix API.
    Groups(Box<Groups>),
    /// Judge PartitionSets in files of YAML or JSON as `kubectl create` would, without a cluster. What a namespace
    /// enforces is not known.
    Validate(Validate),
}

/// How callers of the Atomix API are authenticated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum GrpcAuth {
    /// Not at all.
    #[default]
    None,
    /// By bearer tokens of the cluster; each user has the rights that roles grant.
    Kubernetes,
}

/// Which groups are deleted over the Atomix API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum GrpcDelete {
    /// Those that were created over it.
    #[default]
    Own,
    /// Every group, PartitionSets that were made with kubectl among them.
    Any,
}

/// Options of `run`.
#[derive(Args, Clone, Debug)]
#[command(args_override_self = true)]
pub struct Run {
    /// Name of this controller: its Service, CA Secret and webhook configurations are called after it.
    #[arg(long, env = "CONTROLLER_NAME", default_value = "atomix-controller", value_parser = controller_name)]
    pub controller_name: String,

    /// Namespace of the controller's Service and CA Secret.
    #[arg(long, env = "CONTROLLER_NAMESPACE", default_value = "kube-system", value_parser = namespace)]
    pub controller_namespace: String,

    /// Namespace to look after; may be given more than once, or with commas. Without it: all namespaces.
    #[arg(long = "namespace", env = "WATCH_NAMESPACES", value_name = "NAMESPACE", value_delimiter = ',', value_parser = namespace)]
    pub namespaces: Vec<String>,

    /// Name of this replica, for events, the Lease and the API server's audit log.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,

    /// Address to serve the admission webhooks on, over TLS. `[::]` is every address of IPv4 and IPv6, here and below, and
    /// of IPv4 alone where IPv6 is off.
    #[arg(long, env = "WEBHOOK_ADDRESS", default_value = "[::]:9443")]
    pub webhook_address: SocketAddr,

    /// Address to serve /metrics, /livez and /readyz on, in plain HTTP.
    #[arg(long, env = "METRICS_ADDRESS", default_value = "[::]:8080")]
    pub metrics_address: SocketAddr,

    /// Address to serve the Atomix API on, over gRPC; in the clear without --grpc-certificate.
    #[arg(long, env = "GRPC_ADDRESS", default_value = "[::]:5679")]
    pub grpc_address: SocketAddr,

    /// Refuse to create or delete partition groups over gRPC. Nodes elect their primaries all the same.
    #[arg(long, env = "GRPC_READ_ONLY", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub grpc_read_only: bool,

    /// Which partition groups are deleted over gRPC without --grpc-auth: those that were created over gRPC, or any. With
    /// --grpc-auth=kubernetes the rights of the caller decide.
    #[arg(long, env = "GRPC_DELETE", value_enum, default_value_t)]
    pub grpc_delete: GrpcDelete,

    /// Namespace to serve over gRPC; may be given more than once, or with commas. Without it: all that are managed.
    #[arg(long, env = "GRPC_NAMESPACES", value_name = "NAMESPACE", value_delimiter = ',', value_parser = namespace)]
    pub grpc_namespaces: Vec<String>,

    /// Serve the Atomix API over TLS, with the certificate in this Secret of the controller's namespace or in these files
    /// (tls.crt and tls.key). The server follows changes.
    #[arg(long, env = "GRPC_CERTIFICATE", value_name = "secret:NAME|files:DIRECTORY")]
    pub grpc_certificate: Option<Source>,

    /// Require that clients of the Atomix API have a certificate of one of the authorities in ca.crt of this Secret or
    /// directory.
    #[arg(long, env = "GRPC_CLIENT_CA", value_name = "secret:NAME|files:DIRECTORY", requires = "grpc_certificate")]
    pub grpc_client_ca: Option<Source>,

    /// How callers of the Atomix API are authenticated: not at all, or by a bearer token of the cluster. A user then has the
    /// rights that roles grant on PartitionSets.
    #[arg(long, env = "GRPC_AUTH", value_enum, default_value_t)]
    pub grpc_auth: GrpcAuth,

    /// DNS domain of the cluster.
    #[arg(long, env = "CLUSTER_DOMAIN", default_value = "cluster.local", value_parser = domain)]
    pub cluster_domain: String,

    /// Image of Raft nodes where a set names none.
    #[arg(long, env = "RAFT_IMAGE", default_value = "atomix/atomix-raft-node:latest")]
    pub raft_image: String,

    /// Image of primary-backup nodes where a set names none.
    #[arg(long, env = "BACKUP_IMAGE", default_value = "atomix/atomix-backup-node:latest")]
    pub backup_image: String,

    /// Image of distributed log nodes where a set names none.
    #[arg(long, env = "LOG_IMAGE", default_value = "atomix/atomix-log-node:latest")]
    pub log_image: String,

    /// Whether to write core/v1 Endpoints beside the EndpointSlices, for `kubectl get endpoints` and kube-dns.
    #[arg(long, env = "LEGACY_ENDPOINTS", default_value_t = true, action = ArgAction::Set)]
    pub legacy_endpoints: bool,

    /// Partitions that are reconciled at the same time.
    #[arg(long, env = "WORKERS", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,

    /// How long to go on answering admission requests after being told to stop, until everybody knows that this replica
    /// leaves; such as 5s or 500ms, at most 5m.
    #[arg(long, env = "DRAIN", default_value = "5s", value_parser = drain)]
    pub drain: Duration,

    /// Where the webhooks' certificate comes from: the controller makes it, or others do and put it into this Secret of the
    /// controller's namespace or into these files (tls.crt, tls.key and ca.crt); changes are followed. caBundle is then
    /// theirs to set as well.
    #[arg(long, env = "WEBHOOK_CERTIFICATE", value_name = "self-signed|secret:NAME|files:DIRECTORY", default_value_t)]
    pub webhook_certificate: Mode,

    /// Take only clients of the webhooks that have a certificate of one of the authorities in ca.crt of this Secret or
    /// directory; an API server has one if its --admission-control-config-file says so.
    #[arg(long, env = "WEBHOOK_CLIENT_CA", value_name = "secret:NAME|files:DIRECTORY")]
    pub webhook_client_ca: Option<Source>,

    /// Name of a client of the webhooks, as the common name or a DNS name of its certificate; may be given more than once,
    /// or with commas. Without it: all that --webhook-client-ca has signed.
    #[arg(long = "webhook-client-name", env = "WEBHOOK_CLIENT_NAMES", value_name = "NAME", value_delimiter = ',', requires = "webhook_client_ca", value_parser = NonEmptyStringValueParser::new())]
    pub webhook_client_names: Vec<String>,

    /// How long a certificate authority of the webhooks is valid; it is replaced after two thirds. Such as 2160h, at
    /// least 10s.
    #[arg(long, env = "CA_LIFETIME", default_value = "2160h", value_parser = lifetime::<{ Periods::SHORTEST_CA.as_secs() }>)]
    pub ca_lifetime: Duration,

    /// How long a serving certificate of the webhooks is valid; it is replaced after two thirds. Such as 168h, at least
    /// 5s.
    #[arg(long, env = "LEAF_LIFETIME", default_value = "168h", value_parser = lifetime::<{ Periods::SHORTEST_LEAF.as_secs() }>)]
    pub leaf_lifetime: Duration,

    /// How long every API server may take to learn of a changed CA bundle: each step of a rotation waits as long. Such as
    /// 1m, at least 200ms; no more than a twentieth of --ca-lifetime is waited.
    #[arg(long, env = "CA_HOLD_DOWN", default_value = "1m", value_parser = hold_down)]
    pub ca_hold_down: Duration,

    /// What to log: a level (error, warn, info, debug, trace), or directives such as `info,atomix_controller=debug`.
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,
}

/// Options of `validate`.
#[derive(Args, Debug)]
pub struct Validate {
    /// Files with PartitionSets; `-` reads standard input.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

impl Run {
    /// Name of this replica, for people.
    #[must_use]
    pub fn replica(&self) -> &str {
        self.pod_name.as_deref().unwrap_or(&self.controller_name)
    }

    /// The namespaces to look after.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::of(&self.namespaces)
    }

    /// Namespaces whose sets the webhooks judge, as far as nothing exempts them: those that are looked after, or one's own
    /// and one that every cluster has.
    #[must_use]
    pub fn canary_namespaces(&self) -> Vec<String> {
        if self.namespaces.is_empty() {
            return vec![self.controller_namespace.clone(), canary::EVERYWHERE.to_owned()];
        }
        self.namespaces.clone()
    }

    /// How long the webhooks' certificates last.
    #[must_use]
    pub fn periods(&self) -> Periods {
        let hold_down = self.ca_hold_down.min(self.ca_lifetime / 20);
        Periods { ca: self.ca_lifetime, leaf: self.leaf_lifetime, hold_down }
    }

    /// Of which clients of the webhooks a certificate is wanted; of none without it.
    #[must_use]
    pub fn webhook_clients(&self) -> Option<ClientAuthentication> {
        let ca = self.webhook_client_ca.clone()?;
        Some(ClientAuthentication { ca, names: self.webhook_client_names.clone() })
    }

    /// What the Atomix API allows to every caller.
    #[must_use]
    pub(crate) fn access(&self) -> Access {
        let namespaces = if self.grpc_namespaces.is_empty() { &self.namespaces } else { &self.grpc_namespaces };
        Access {
            read_only: self.grpc_read_only,
            delete_any: self.grpc_delete == GrpcDelete::Any,
            namespaces: Scope::of(namespaces),
            authority: None,
        }
    }

    /// Where the certificates of the Atomix API are; none if it is served in the clear.
    #[must_use]
    pub(crate) fn grpc_tls(&self) -> Option<Sources> {
        let certificate = self.grpc_certificate.clone()?;
        Some(Sources { certificate, client_ca: self.grpc_client_ca.clone() })
    }

    /// What the reconcilers build from.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            name: self.controller_name.clone(),
            namespace: self.controller_namespace.clone(),
            cluster_domain: self.cluster_domain.clone(),
            images: Images {
                raft: self.raft_image.clone(),
                backup: self.backup_image.clone(),
                log: self.log_image.clone(),
            },
            legacy_endpoints: self.legacy_endpoints,
        }
    }
}

fn controller_name(text: &str) -> Result<String, String> {
    if text.len() <= MAX_CONTROLLER_NAME && is_dns_1035_label(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "must be a DNS-1035 label of at most {MAX_CONTROLLER_NAME} characters, because a Service is named after it: lower case letters, digits and '-', starting with a letter, ending with a letter or digit"
    ))
}

fn namespace(text: &str) -> Result<String, String> {
    if text.len() <= MAX_NAMESPACE && !text.contains('.') && is_dns_1123_subdomain(text) {
        return Ok(text.to_owned());
    }
    Err("must be the name of a namespace, a DNS-1123 label: at most 63 lower case letters, digits and '-', starting and ending with a letter or digit".to_owned())
}

/// A domain without the dots that some put before or after it: it becomes the end of names.
fn domain(text: &str) -> Result<String, String> {
    let domain = text.trim_matches('.');
    if is_dns_1123_subdomain(domain) {
        return Ok(domain.to_owned());
    }
    Err("must be a DNS domain such as cluster.local: lower case letters, digits, '-' and '.'".to_owned())
}

fn lifetime<const SHORTEST: u64>(text: &str) -> Result<Duration, String> {
    let within = parsed(text).filter(|lifetime| (SHORTEST..=Periods::LONGEST.as_secs()).contains(&lifetime.as_secs()));
    within.ok_or_else(|| format!("must be a duration of at least {SHORTEST}s and at most 87600h, such as 168h or 30m"))
}

fn hold_down(text: &str) -> Result<Duration, String> {
    let within = parsed(text).filter(|hold_down| (Periods::SHORTEST_HOLD_DOWN..=MAX_HOLD_DOWN).contains(hold_down));
    within.ok_or_else(|| "must be a duration of at least 200ms and at most 24h, such as 1m".to_owned())
}

fn parsed(text: &str) -> Option<Duration> {
    duration::parse(text).and_then(|nanos| u64::try_from(nanos).ok()).map(Duration::from_nanos)
}

fn drain(text: &str) -> Result<Duration, String> {
    let within = parsed(text).filter(|drain| *drain <= MAX_DRAIN);
    within.ok_or_else(|| "must be a duration of at most 5m, such as 5s or 500ms".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_option_given_twice_takes_the_last() {
        let cli = Cli::parse_from(["x", "run", "--workers=2", "--workers=3"]);
        assert!(matches!(cli.command, Command::Run(run) if run.workers == 3));
    }

    fn run(arguments: &[&str]) -> Result<Run, String> {
        let arguments = ["x", "run"].iter().chain(arguments);
        match Cli::try_parse_from(arguments).map_err(|error| error.to_string())?.command {
            Command::Run(run) => Ok(*run),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn namespaces_add_up_and_none_means_all() {
        assert_eq!(run(&[]).unwrap().scope(), Scope::All);
        let several = run(&["--namespace=b", "--namespace=a,c", "--namespace=b"]).unwrap();
        assert_eq!(several.scope().to_string(), "a,b,c");
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_option_and_the_rule() {
        let long = "n".repeat(64);
        for wrong in ["", "A", "a.b", "-a", "a,", "a b", &long] {
            let error = run(&[&format!("--namespace={wrong}")]).unwrap_err();
            assert!(
                error.contains("--namespace <NAMESPACE>") && error.contains("DNS-1123 label"),
                "{wrong:?}: {error}"
            );
        }
        let (fits, long) = ("c".repeat(49), "c".repeat(50));
        assert_eq!(run(&[&format!("--controller-name={fits}")]).unwrap().controller_name, fits);
        for wrong in ["", "1a", "a.b", &long] {
            let error = run(&[&format!("--controller-name={wrong}")]).unwrap_err();
            assert!(error.contains("DNS-1035 label of at most 49 characters"), "{wrong:?}: {error}");
        }
    }

    #[test]
    fn the_cluster_domain_has_no_dots_around_it() {
        assert_eq!(run(&["--cluster-domain=.example.org."]).unwrap().settings().cluster_domain, "example.org");
        assert!(run(&["--cluster-domain=Example"]).unwrap_err().contains("must be a DNS domain"));
    }

    #[test]
    fn certificates_of_clients_are_asked_for_over_tls_only() {
        let tls = run(&["--grpc-certificate=secret:a", "--grpc-client-ca=files:/b"]).unwrap().grpc_tls();
        let sources = Sources { certificate: Source::Secret("a".into()), client_ca: Some(Source::Files("/b".into())) };
        assert_eq!(tls, Some(sources));
        assert_eq!(run(&[]).unwrap().grpc_tls(), None);
        assert!(run(&["--grpc-client-ca=secret:a"]).unwrap_err().contains("--grpc-certificate"));
        assert!(run(&["--grpc-certificate=a"]).unwrap_err().contains("must be secret:NAME"));
        assert!(run(&["--grpc-auth=x"]).unwrap_err().contains("[possible values: none, kubernetes]"));
    }

    #[test]
    fn the_webhooks_certificate_is_our_own_doing_unless_a_source_is_named() {
        assert_eq!(run(&[]).unwrap().webhook_certificate, Mode::SelfSigned);
        let given = run(&["--webhook-certificate=files:/a"]).unwrap().webhook_certificate;
        assert_eq!(given, Mode::Given(Source::Files("/a".into())));
        assert!(run(&["--webhook-certificate=a"]).unwrap_err().contains("must be self-signed, or it must be secret:"));
    }

    #[test]
    fn names_of_clients_of_the_webhooks_take_an_authority_of_theirs() {
        assert_eq!(run(&[]).unwrap().webhook_clients(), None);
        let clients = run(&["--webhook-client-ca=secret:a", "--webhook-client-name=b,c", "--webhook-client-name=d"]);
        let names = ["b", "c", "d"].map(str::to_owned).to_vec();
        let wanted = ClientAuthentication { ca: Source::Secret("a".into()), names };
        assert_eq!(clients.unwrap().webhook_clients(), Some(wanted));
        assert!(run(&["--webhook-client-name=b"]).unwrap_err().contains("--webhook-client-ca"));
        // It would let in nobody, or everybody.
        assert!(run(&["--webhook-client-ca=secret:a", "--webhook-client-name="]).is_err());
    }

    #[test]
    fn a_drain_is_a_duration_with_a_unit() {
        let drain = |argument| run(&[argument]).map(|run| run.drain);
        assert_eq!(run(&[]).unwrap().drain, crate::admission::server::Limits::default().drain);
        assert_eq!(drain("--drain=1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(drain("--drain=0s"), Ok(Duration::ZERO));
        for wrong in ["--drain=5", "--drain=301s", "--drain=-1s", "--drain="] {
            assert!(drain(wrong).unwrap_err().contains("must be a duration of at most 5m"), "{wrong}");
        }
    }

    #[test]
    fn certificates_last_for_bounded_times_that_fit_together() {
        assert_eq!(run(&[]).unwrap().periods(), Periods::default());
        let quick = run(&["--ca-lifetime=1m", "--leaf-lifetime=5s", "--ca-hold-down=200ms"]).unwrap().periods();
        assert_eq!((quick.ca, quick.leaf), (Duration::from_secs(60), Duration::from_secs(5)));
        assert_eq!(quick.hold_down, Duration::from_millis(200));
        // A rotation has to fit into a third of the CA's life.
        let slow = run(&["--ca-lifetime=1m", "--ca-hold-down=1h"]).unwrap().periods();
        assert_eq!(slow.hold_down, Duration::from_secs(3));
        for wrong in [
            "--ca-lifetime=9s",
            "--ca-lifetime=87601h",
            "--leaf-lifetime=4s",
            "--ca-hold-down=199ms",
            "--ca-hold-down=1",
        ] {
            assert!(run(&[wrong]).unwrap_err().contains("must be a duration of at least"), "{wrong}");
        }
    }
}
