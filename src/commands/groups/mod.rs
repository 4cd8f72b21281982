//! The `groups` command: a client of the Atomix API.

mod args;
mod connection;
mod show;

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use tonic::{Code, Status};
use tonic_types::StatusExt;

pub use self::args::Groups;
use self::args::{Action, Create};
use self::connection::Client;
use crate::api::names::ObjectKey;
use crate::grpc::groups::{self, Options};
use crate::grpc::proto::controller::{
    CreatePartitionGroupRequest, DeletePartitionGroupRequest, GetPartitionGroupsRequest, PartitionGroup,
    PartitionGroupId, PartitionGroupSpec,
};
use crate::rules::{self, violation};

/// Namespace of a group that is given without one.
const DEFAULT_NAMESPACE: &str = "default";

/// Most bytes of options that are read; more than are valid.
const MAX_INPUT: u64 = 1 << 20;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client cannot be configured.
    #[error(transparent)]
    Connection(#[from] connection::Error),
    /// A group without a name, or in a namespace without one.
    #[error("{0:?} names no group: it is NAME or NAMESPACE.NAME")]
    Unnamed(String),
    /// A group is named in two namespaces.
    #[error("group {group:?} is in namespace {named:?}, and --namespace says {given:?}")]
    Namespaces {
        /// What was given as the group.
        group: String,
        /// The namespace in it.
        named: String,
        /// The other namespace.
        given: String,
    },
    /// The options cannot be read.
    #[error("reading --config {file}: {source}")]
    Read {
        /// Name of the file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The options are wrong.
    #[error("--config {0}")]
    Config(String),
    /// There is no such group.
    #[error("there is no group {0}")]
    Missing(ObjectKey),
    /// The server refused the request.
    #[error("{0}")]
    Refused(Refused),
    /// The response cannot be written as YAML.
    #[error("writing YAML: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
    /// Standard output is closed.
    #[error("writing to standard output: {0}")]
    Print(io::Error),
    /// There is no runtime for the client.
    #[error("starting the async runtime: {0}")]
    Runtime(io::Error),
}

impl Error {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(Refused(status))
                if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled) =>
            {
                3
            }
            _ => 1,
        }
    }
}

/// The status of a refused request.
#[derive(Debug)]
pub struct Refused(Status);

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Refused(Refused(status))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(status) = self;
        write!(f, "{} ({:?})", status.message(), status.code())?;
        let details = status.get_error_details();
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        // The message has most of them already.
        for violation in violations.iter().filter(|violation| !status.message().contains(&violation.description)) {
            write!(f, "\n* {}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

/// Runs the action and prints its result, or the error. The exit code is 3 if another attempt may succeed.
#[must_use]
pub fn run(options: &Groups) -> ExitCode {
    match act_and_print(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("atomix-controller: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn act_and_print(options: &Groups) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let text = runtime.block_on(act(options))?;
    io::stdout().write_all(text.as_bytes()).map_err(Error::Print)
}

async fn act(options: &Groups) -> Result<String, Error> {
    let mut client = connection::client(options)?;
    let given = options.namespace.as_deref();
    match &options.action {
        Action::List => {
            let namespace = given.unwrap_or(DEFAULT_NAMESPACE);
            Ok(show::list(&find(&mut client, &ObjectKey::new(namespace, "")).await?, options.output)?)
        }
        Action::Get { group } => {
            let key = key(group, given)?;
            let groups = find(&mut client, &key).await?;
            let group = groups.first().ok_or(Error::Missing(key))?;
            Ok(show::group(group, options.output)?)
        }
        Action::Create(create) => {
            let key = key(&create.group, given)?;
            let spec = spec(create)?;
            let warnings = warnings(&key, &spec);
            client.create_partition_group(CreatePartitionGroupRequest { id: Some(id(&key)), spec: Some(spec) }).await?;
            for warning in warnings {
                eprintln!("Warning: {warning}");
            }
            Ok(format!("group {key} created\n"))
        }
        Action::Delete { group } => {
            let key = key(group, given)?;
            client.delete_partition_group(DeletePartitionGroupRequest { id: Some(id(&key)) }).await?;
            Ok(format!("group {key} deleted\n"))
        }
    }
}

async fn find(client: &mut Client, key: &ObjectKey) -> Result<Vec<PartitionGroup>, Error> {
    let request = GetPartitionGroupsRequest { id: Some(id(key)) };
    Ok(client.get_partition_groups(request).await?.into_inner().groups)
}

fn id(key: &ObjectKey) -> PartitionGroupId {
    PartitionGroupId { name: key.name.clone(), namespace: key.namespace.clone() }
}

/// The group that `name` or `namespace.name` means; neither has a dot in it.
fn key(group: &str, given: Option<&str>) -> Result<ObjectKey, Error> {
    let (named, name) = group.split_once('.').map_or((None, group), |(namespace, name)| (Some(namespace), name));
    if name.is_empty() || named.is_some_and(str::is_empty) {
        return Err(Error::Unnamed(group.to_owned()));
    }
    match (named, given) {
        (Some(named), Some(given)) if named != given => {
            Err(Error::Namespaces { group: group.to_owned(), named: named.to_owned(), given: given.to_owned() })
        }
        _ => Ok(ObjectKey::new(named.or(given).unwrap_or(DEFAULT_NAMESPACE), name)),
    }
}

fn spec(create: &Create) -> Result<PartitionGroupSpec, Error> {
    let text = create.config.as_deref().map(read).transpose()?.unwrap_or_default();
    let options = Options::of_config(create.protocol, &text, "config")
        .map_err(|violations| Error::Config(violation::join(&violations)))?;
    Ok(PartitionGroupSpec {
        partitions: create.partitions,
        partition_size: create.partition_size,
        protocol: Some(options.to_any()),
    })
}

fn read(file: &Path) -> Result<String, Error> {
    let failed = |source| Error::Read { file: file.display().to_string(), source };
    if file == Path::new("-") {
        return io::read_to_string(io::stdin().lock().take(MAX_INPUT)).map_err(failed);
    }
    std::fs::read_to_string(file).map_err(failed)
}

/// The warnings of admission, for which the API has no field.
fn warnings(key: &ObjectKey, spec: &PartitionGroupSpec) -> Vec<String> {
    let set = groups::wanted(key, spec).ok().and_then(|set| serde_json::to_value(set).ok());
    set.map(|set| rules::partition_set(&set, None, &|_| None).warnings).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_name_or_a_namespace_and_a_name() {
        let key = |group, given| key(group, given).map(|key| key.to_string()).map_err(|error| error.to_string());
        assert_eq!(key("g", None), Ok("default/g".to_owned()));
        assert_eq!(key("g", Some("ns")), Ok("ns/g".to_owned()));
        assert_eq!(key("ns.g", None), Ok("ns/g".to_owned()));
        assert_eq!(key("ns.g", Some("ns")), Ok("ns/g".to_owned()));
        for unnamed in ["", ".", "ns.", ".g"] {
            assert!(key(unnamed, None).unwrap_err().contains("names no group"), "{unnamed:?}");
        }
        assert!(key("ns.g", Some("other")).unwrap_err().contains("--namespace says \"other\""));
    }

    #[test]
    fn the_status_is_shown_once_and_decides_the_exit_code() {
        use tonic_types::ErrorDetails;
        let refused = |message: &str| {
            let details = ErrorDetails::with_bad_request_violation("spec.a", "Required value");
            Error::from(Status::with_error_details(Code::InvalidArgument, message, details))
        };
        assert_eq!(refused("spec.a: Required value").to_string(), "spec.a: Required value (InvalidArgument)");
        assert_eq!(refused("it is wrong").to_string(), "it is wrong (InvalidArgument)\n* spec.a: Required value");
        assert_eq!(refused("").exit_code(), 1);
        assert_eq!(Error::from(Status::unavailable("away")).exit_code(), 3);
    }
}
