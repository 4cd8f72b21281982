//! The registry of the process's metrics, in the `OpenMetrics` text format and in that of before it.
//!
//! Each subsystem has a struct of its own metrics, which it registers where it declares them. Every label takes its
//! values from a fixed list, so that no client can add a series.

use std::collections::HashSet;
use std::fmt;
use std::panic;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{self, Unit};

/// Media types of [`Registry::render`] and of [`classic`].
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
pub(super) const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Prefix of the names of all metrics.
const PREFIX: &str = "atomix";

/// Histograms by label, each with the same buckets.
pub type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics of one subsystem.
pub trait Subsystem {
    /// New metrics, all zero, each registered under its name.
    fn register(registrar: &mut Registrar<'_>) -> Self;
}

/// Registers single metrics.
#[derive(Debug)]
pub struct Registrar<'a>(&'a mut registry::Registry);

impl Registrar<'_> {
    /// A counter, a gauge, or a family of either. The text format appends `_total` to the name of a counter.
    pub(crate) fn metric<M: registry::Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register(name, help, metric.clone());
        metric
    }

    /// A gauge of seconds, or of seconds since 1970. The text format appends `_seconds` to its name.
    pub(crate) fn timestamp<M: registry::Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.0.register_with_unit(name, help, Unit::Seconds, metric.clone());
        metric
    }

    /// Histograms of seconds, with 16 buckets as `buckets` makes them. The text format appends `_seconds` to the name.
    pub(crate) fn durations<L>(&mut self, name: &str, help: &str, buckets: fn() -> Histogram) -> Histograms<L>
    where
        L: EncodeLabelSet + Clone + Eq + std::hash::Hash + fmt::Debug + Send + Sync + 'static,
    {
        let histograms = Histograms::<L>::new_with_constructor(buckets);
        self.0.register_with_unit(name, help, Unit::Seconds, histograms.clone());
        histograms
    }
}

/// Buckets from 50 µs to 1.6 s: a request that is answered from memory takes microseconds, a stalled machine up to the
/// API server's deadline.
pub(crate) fn request_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 2.0, 16))
}

/// Buckets from 1 ms to 33 s: a reconciliation is some API calls.
pub(crate) fn reconcile_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

/// All metrics of the process. Clones share them.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    metrics: registry::Registry,
    updates: Vec<Box<dyn Fn() + Send>>,
}

impl Registry {
    /// The metrics of a subsystem, registered; to be called once for each.
    pub(crate) fn register<S: Subsystem>(&self) -> Arc<S> {
        Arc::new(S::register(&mut Registrar(self.lock().metrics.sub_registry_with_prefix(PREFIX))))
    }

    /// Calls `update` before each scrape: it sets gauges that only a scrape needs. It must be quick.
    pub(crate) fn before_scrape(&self, update: impl Fn() + Send + 'static) {
        self.lock().updates.push(Box::new(update));
    }

    /// Everything in the `OpenMetrics` text format.
    ///
    /// # Errors
    /// Only if a metric cannot be written as text.
    pub(crate) fn render(&self) -> Result<String, fmt::Error> {
        let inner = self.lock();
        inner.updates.iter().for_each(|update| update());
        let mut buffer = String::new();
        text::encode(&mut buffer, &inner.metrics)?;
        Ok(buffer)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A rendered text in the format that every scraper reads: it has no units, and counters have their whole names throughout.
pub(super) fn classic(text: &str) -> String {
    let of_counter = |line: &str| line.strip_prefix("# TYPE ")?.strip_suffix(" counter").map(str::to_owned);
    let counters: HashSet<String> = text.lines().filter_map(of_counter).collect();
    let mut classic = String::with_capacity(text.len());
    for line in text.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(word), Some(name), Some(rest)) if counters.contains(name) => {
                classic.extend(["# ", word, " ", name, "_total ", rest]);
            }
            _ => classic.push_str(line),
        }
        classic.push('\n');
    }
    classic
}

/// The label of a failure.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReasonLabel {
    pub(crate) reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct TaskLabel {
    pub(super) task: &'static str,
}

/// Metrics of the process as such.
#[derive(Debug)]
pub struct ProcessMetrics {
    panics: Counter,
    pub(super) task_failures: Family<TaskLabel, Counter>,
}

impl Subsystem for ProcessMetrics {
    fn register(registrar: &mut Registrar<'_>) -> Self {
        let start: Gauge = registrar.timestamp("process_start_time", "When the process began");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        start.set(i64::try_from(now).unwrap_or(i64::MAX));
        Self {
            panics: registrar.metric("panics", "Panics anywhere in the process"),
            task_failures: registrar
                .metric("task_failures", "Background tasks that have panicked or ended early, which ends the process"),
        }
    }
}

impl ProcessMetrics {
    /// Counts every panic of the process from now on, before the hook that is installed already reports it.
    pub(crate) fn count_panics(&self) {
        let panics = self.panics.clone();
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            panics.inc();
            report(info);
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Example {
        count: Family<ReasonLabel, Counter>,
        at: Gauge,
        took: Histograms<ReasonLabel>,
    }

    impl Subsystem for Example {
        fn register(registrar: &mut Registrar<'_>) -> Self {
            Self {
                count: registrar.metric("example_failures", "Failures"),
                at: registrar.timestamp("example_timestamp", "When"),
                took: registrar.durations("example_duration", "How long", request_buckets),
            }
        }
    }

    #[test]
    fn every_metric_appears_under_its_name_with_prefix_and_unit() {
        let registry = Registry::default();
        let (example, process) = (registry.register::<Example>(), registry.register::<ProcessMetrics>());
        let label = ReasonLabel { reason: "closed" };
        example.count.get_or_create(&label).inc();
        example.at.set(7);
        example.took.get_or_create(&label).observe(0.003);
        process.panics.inc();
        let shown = example.clone();
        registry.before_scrape(move || {
            shown.at.inc();
        });
        let text = registry.render().unwrap();
        for line in [
            r#"atomix_example_failures_total{reason="closed"} 1"#,
            "atomix_example_timestamp_seconds 8",
            r#"atomix_example_duration_seconds_count{reason="closed"} 1"#,
            "atomix_panics_total 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let classic = classic(&text);
        for line in [
            "# HELP atomix_panics_total Panics anywhere in the process.",
            "# TYPE atomix_panics_total counter",
            "atomix_panics_total 1",
            "# TYPE atomix_example_timestamp_seconds gauge",
        ] {
            assert!(classic.lines().any(|found| found == line), "{line}\n{classic}");
        }
        assert!(!classic.contains("# UNIT") && !classic.contains("# EOF"), "{classic}");
    }
}
