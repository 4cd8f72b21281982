//! The `status` command: shows sets with their partitions and pods, and follows a change until it is complete.

mod args;
mod progress;
mod show;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::time::timeout;

pub use self::args::Status;
use self::progress::{Progress, State};
use super::kubeconfig;
use crate::api::names::ObjectKey;
use crate::api::{Partition, PartitionSet, labels};
use crate::store::cache::key_of;

/// Why the state of a set is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server cannot be reached.
    #[error(transparent)]
    Kubeconfig(#[from] kubeconfig::Error),
    /// There is no such set.
    #[error("there is no PartitionSet {0}")]
    Missing(ObjectKey),
    /// The API server refused a request.
    #[error("reading {0}")]
    Read(&'static str, #[source] kube::Error),
    /// The sets cannot be watched.
    #[error("watching PartitionSets")]
    Watch(#[from] watcher::Error),
    /// The time is over.
    #[error("not complete within {0:?}")]
    Timeout(Duration),
    /// Standard output is closed.
    #[error("writing to standard output")]
    Print(#[from] io::Error),
    /// There is no runtime for the client.
    #[error("starting the async runtime")]
    Runtime(#[source] io::Error),
}

/// Prints the state. The exit code is 0 if all that was shown is complete, and otherwise 1.
///
/// # Errors
/// If the state is not known, or the timeout ended first.
pub fn run(options: &Status) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let is_complete = runtime.block_on(async {
        let (client, namespace) = options.kubeconfig.connect().await?;
        let namespace = options.namespace.clone().unwrap_or(namespace);
        let scope =
            Scope { client, namespace: (!options.all_namespaces).then_some(namespace), set: options.set.clone() };
        match (options.watch, options.timeout) {
            (false, _) => scope.show().await,
            (true, None) => scope.follow().await,
            (true, Some(longest)) => timeout(longest, scope.follow()).await.map_err(|_| Error::Timeout(longest))?,
        }
    })?;
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Which sets are shown.
struct Scope {
    client: Client,
    /// All namespaces, if absent.
    namespace: Option<String>,
    /// All sets, if absent.
    set: Option<String>,
}

impl Scope {
    fn sets(&self) -> Api<PartitionSet> {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    fn missing(&self, set: &str) -> Error {
        Error::Missing(ObjectKey::new(self.namespace.as_deref().unwrap_or_default(), set))
    }

    /// Prints the state of now. Whether it is complete.
    async fn show(&self) -> Result<bool, Error> {
        let reading = |error| Error::Read("PartitionSets", error);
        let (text, states) = if let Some(name) = &self.set {
            let set = self.sets().get_opt(name).await.map_err(reading)?.ok_or_else(|| self.missing(name))?;
            let of_set = ListParams::default().labels(&format!("{}={name}", labels::GROUP));
            let namespace = set.namespace().unwrap_or_default();
            let partitions: Api<Partition> = Api::namespaced(self.client.clone(), &namespace);
            let partitions = partitions.list(&of_set).await.map_err(|error| Error::Read("Partitions", error))?;
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
            let pods = pods.list(&of_set).await.map_err(|error| Error::Read("Pods", error))?;
            let state = State::of(&set);
            (show::detail(&set, &state, partitions.items, pods.items), vec![state])
        } else {
            let sets = self.sets().list(&ListParams::default()).await.map_err(reading)?.items;
            let states: Vec<_> = sets.iter().map(State::of).collect();
            (show::sets(&sets, &states), states)
        };
        io::stdout().write_all(text.as_bytes())?;
        Ok(states.iter().all(|state| state.progress == Progress::Done))
    }

    /// Prints a line at each change, until all is complete or one set does not change any more by itself. Whether it is
    /// complete.
    async fn follow(&self) -> Result<bool, Error> {
        let named = self.set.as_ref().map(|name| format!("metadata.name={name}"));
        let config = watcher::Config { field_selector: named, ..watcher::Config::default() };
        let mut events = Box::pin(watcher(self.sets(), config).default_backoff());
        let (mut sets, mut is_listed) = (BTreeMap::new(), false);
        loop {
            match events.try_next().await {
                Ok(Some(Event::Init)) => sets.clear(),
                Ok(Some(Event::InitApply(set) | Event::Apply(set))) => update(&mut sets, &set)?,
                Ok(Some(Event::InitDone)) => is_listed = true,
                Ok(Some(Event::Delete(set))) => drop(sets.remove(&key_of(&set))),
                Ok(None) => return Ok(false),
                // The watch goes on by itself once it has begun.
                Err(error) if is_listed => warn(&error),
                Err(error) => return Err(error.into()),
            }
            if !is_listed {
                continue;
            }
            if let Some(name) = self.set.as_ref().filter(|_| sets.is_empty()) {
                return Err(self.missing(name));
            }
            if sets.values().any(|(progress, _)| *progress == Progress::Halted) {
                return Ok(false);
            }
            if sets.values().all(|(progress, _)| *progress == Progress::Done) {
                return Ok(true);
            }
        }
    }
}

/// How far each set is, and the line that was printed of it.
type Lines = BTreeMap<ObjectKey, (Progress, String)>;

fn update(sets: &mut Lines, set: &PartitionSet) -> io::Result<()> {
    let (key, state) = (key_of(set), State::of(set));
    let now = (state.progress, show::headline(set, &state));
    if sets.get(&key) != Some(&now) {
        writeln!(io::stdout(), "{}", now.1)?;
        sets.insert(key, now);
    }
    Ok(())
}

fn warn(error: &dyn Display) {
    eprintln!("Warning: watching PartitionSets: {error}; trying again");
}
