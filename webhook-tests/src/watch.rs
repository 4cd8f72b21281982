//! Awaiting states of the cluster by its events, without sleeping.
//!
//! `kubectl get --watch` does not tell where its initial list ends, so "none
//! are left" could not be distinguished from "none have come yet". The API server does
//! tell (a bookmark closes the initial events), so the watch is asked for by
//! its path; kubectl still brings the connection and the credentials.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::kubectl::Kubectl;
use crate::selection::Selection;

/// What happened to the watched objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// All objects that were there at the beginning have been seen.
    Synced,
    /// An object is there.
    Added,
    /// An object has changed.
    Modified,
    /// An object is gone, or no longer matches the selection.
    Deleted,
}

/// One step of a [`Watch`].
#[derive(Debug, Clone)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The object: its last state if it is gone, null for [`EventKind::Synced`].
    pub object: Value,
    /// When the event arrived here.
    pub at: Instant,
}

type Key = (String, String);

/// Follows a selection of objects; made by [`Kubectl::watch`].
///
/// It survives the end of its connection, and a kind that is not served yet is
/// waited for.
#[derive(Debug)]
pub struct Watch {
    kubectl: Kubectl,
    selection: Selection,
    stream: Option<Stream>,
    state: BTreeMap<Key, Value>,
    /// Known before the current stream began, not yet seen in it.
    unseen: BTreeSet<Key>,
    synced: bool,
    ready: VecDeque<Event>,
    trouble: Option<String>,
}

impl Watch {
    pub(crate) fn new(kubectl: Kubectl, arguments: &[&str]) -> Self {
        let selection = Selection::parse(arguments, kubectl.namespace())
            .unwrap_or_else(|error| panic!("watching {}: {error}", arguments.join(" ")));
        Self {
            kubectl,
            selection,
            stream: None,
            state: BTreeMap::new(),
            unseen: BTreeSet::new(),
            synced: false,
            ready: VecDeque::new(),
            trouble: None,
        }
    }

    /// The next event, or `None` when the deadline comes first.
    pub fn next(&mut self, deadline: Instant) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if Instant::now() >= deadline {
                return None;
            }
            let Some(stream) = &self.stream else {
                match Stream::open(&self.kubectl, &self.selection) {
                    Ok(stream) => {
                        self.unseen = self.state.keys().cloned().collect();
                        self.synced = false;
                        self.stream = Some(stream);
                    }
                    Err(error) => self.trouble = Some(format!("{error:#}")),
                }
                continue;
            };
            match stream.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Line::Event(value, at)) => self.take(value, at),
                Ok(Line::End(trouble)) => {
                    self.trouble = Some(trouble);
                    self.stream = None;
                }
                Err(RecvTimeoutError::Disconnected) => self.stream = None,
                Err(RecvTimeoutError::Timeout) => return None,
            }
        }
    }

    /// The objects as of the last event, by namespace and name.
    #[must_use]
    pub fn state(&self) -> Vec<Value> {
        self.state.values().cloned().collect()
    }

    /// Whether [`EventKind::Synced`] has come: only then is the state complete.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    fn take(&mut self, mut event: Value, at: Instant) {
        let object = event["object"].take();
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = (text("/metadata/namespace"), text("/metadata/name"));
        let kind = match event["type"].as_str() {
            Some("ADDED" | "MODIFIED") => {
                self.unseen.remove(&key);
                // A new connection tells again what is known already.
                let known = self.state.insert(key, object.clone());
                match known {
                    None => EventKind::Added,
                    Some(known) if known["metadata"]["resourceVersion"] == object["metadata"]["resourceVersion"] => {
                        return;
                    }
                    Some(_) => EventKind::Modified,
                }
            }
            Some("DELETED") => {
                self.unseen.remove(&key);
                self.state.remove(&key);
                EventKind::Deleted
            }
            Some("BOOKMARK") => {
                let ends = "/metadata/annotations/k8s.io~1initial-events-end";
                if object.pointer(ends).and_then(Value::as_str) != Some("true") {
                    return;
                }
                for key in std::mem::take(&mut self.unseen) {
                    if let Some(object) = self.state.remove(&key) {
                        self.ready.push_back(Event { kind: EventKind::Deleted, object, at });
                    }
                }
                self.synced = true;
                self.ready.push_back(Event { kind: EventKind::Synced, object: Value::Null, at });
                return;
            }
            _ => {
                self.trouble = Some(object.to_string());
                self.stream = None;
                return;
            }
        };
        self.ready.push_back(Event { kind, object, at });
    }
}

pub(crate) fn wait_until(
    kubectl: &Kubectl,
    arguments: &[&str],
    timeout: Duration,
    mut predicate: impl FnMut(&[Value]) -> bool,
) -> Result<Vec<Value>> {
    let deadline = Instant::now() + timeout;
    let mut watch = Watch::new(kubectl.clone(), arguments);
    while watch.next(deadline).is_some() {
        if !watch.is_synced() {
            continue;
        }
        let state = watch.state();
        if predicate(&state) {
            return Ok(state);
        }
    }
    bail!(
        "not in {timeout:?}: {}\n--- last state ({})\n{}{}",
        arguments.join(" "),
        if watch.synced { "complete" } else { "never complete" },
        readable(watch.state()),
        watch.trouble.map(|trouble| format!("\n--- last trouble\n{trouble}")).unwrap_or_default(),
    );
}

fn readable(mut state: Vec<Value>) -> String {
    for object in &mut state {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
    }
    let text = serde_json::to_string_pretty(&state).unwrap_or_default();
    let most = 20_000;
    if text.len() <= most {
        return text;
    }
    let cut: String = text.chars().take(most).collect();
    format!("{cut}\n... and {} more bytes, {} objects in all", text.len() - cut.len(), state.len())
}

#[derive(Debug)]
enum Line {
    Event(Value, Instant),
    End(String),
}

/// One connection, held by a kubectl of its own.
#[derive(Debug)]
struct Stream {
    child: Child,
    lines: Receiver<Line>,
}

impl Stream {
    fn open(kubectl: &Kubectl, selection: &Selection) -> Result<Self> {
        let path = selection.path(kubectl)?;
        let mut child = kubectl
            .command()
            .args(["get", "--raw", &path])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting kubectl")?;
        let (stdout, stderr) = child.stdout.take().zip(child.stderr.take()).context("kubectl without pipes")?;
        let (sender, lines) = mpsc::channel();
        // It ends with the child, whose output it reads.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Ok(event) = serde_json::from_str(&line) else { break };
                if sender.send(Line::Event(event, Instant::now())).is_err() {
                    return;
                }
            }
            let mut trouble = String::new();
            let _ = BufReader::new(stderr).read_to_string(&mut trouble);
            let _ = sender.send(Line::End(format!("the watch of {path} ended: {trouble}")));
        });
        Ok(Self { child, lines })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
