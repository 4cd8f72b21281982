//! Liveness, readiness and metrics over plain HTTP.
//!
//! Each part of the process adds a named gate, which it opens when it is ready, or a check that is made at every probe.

use std::fmt::{Display, Write as _};
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::metrics::{self, Registry};

/// How long a check counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Until the process was ready for the first time. Afterwards a failure shows in `/readyz?verbose` only, because no
    /// other replica would do better and the same Service carries the Atomix API.
    UntilReady,
    /// As long as the process runs: another replica would do better.
    Always,
}

type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

struct Named {
    name: String,
    counts: Counts,
    check: Check,
}

#[derive(Default)]
struct Inner {
    checks: RwLock<Vec<Named>>,
    was_ready: AtomicBool,
    draining: AtomicBool,
}

/// The gates and checks of the process. It is not ready before the first is added. Clones share them.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Inner>);

/// Holds readiness back until it is opened. If it is dropped closed, the process never becomes ready. Clones are the same
/// gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<ArcSwapOption<String>>);

impl Gate {
    pub(crate) fn open(&self) {
        self.0.store(None);
    }

    /// Sets the reason why the gate is still closed, if it is.
    pub(crate) fn explain(&self, why: &dyn Display) {
        self.0.rcu(|known| known.as_ref().map(|_| Arc::new(format!("not yet: {why}"))));
    }
}

/// The answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub(crate) ready: bool,
    /// The name and the result of each check, in the order in which they were added.
    checks: Vec<(String, Result<(), String>)>,
}

impl Readiness {
    /// Adds a gate that the first readiness waits for.
    pub(crate) fn gate(&self, name: impl Into<String>) -> Gate {
        let gate = Gate(Arc::new(ArcSwapOption::from_pointee("not yet".to_owned())));
        let seen = gate.clone();
        self.check(name, Counts::UntilReady, move || seen.0.load().as_deref().map_or(Ok(()), |why| Err(why.clone())));
        gate
    }

    /// Adds a check that is made at every probe; it must be quick. Its error is the reason why it fails.
    pub(crate) fn check(
        &self,
        name: impl Into<String>,
        counts: Counts,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        let named = Named { name: name.into(), counts, check: Box::new(check) };
        self.0.checks.write().unwrap_or_else(PoisonError::into_inner).push(named);
    }

    /// Makes the process unready for good, because it stops.
    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Makes all checks.
    pub(crate) fn report(&self) -> Report {
        let inner = &self.0;
        let was_ready = inner.was_ready.load(Ordering::Acquire);
        let mut ready = true;
        let mut checks = Vec::new();
        for Named { name, counts, check } in &*inner.checks.read().unwrap_or_else(PoisonError::into_inner) {
            let result = check();
            ready &= result.is_ok() || (was_ready && *counts == Counts::UntilReady);
            checks.push((name.clone(), result));
        }
        ready &= !checks.is_empty();
        if ready && !was_ready {
            inner.was_ready.store(true, Ordering::Release);
            tracing::info!("ready");
        }
        if inner.draining.load(Ordering::Acquire) {
            ready = false;
            checks.push(("shutdown".to_owned(), Err("draining".to_owned())));
        }
        Report { ready, checks }
    }
}

impl Report {
    fn text(&self, verbose: bool) -> String {
        if self.ready && !verbose {
            return "ok\n".to_owned();
        }
        let mut text = String::new();
        for (name, result) in &self.checks {
            // Writing to a String cannot fail.
            let _ = match result {
                Ok(()) if verbose => writeln!(text, "[+] {name}: ok"),
                Ok(()) => Ok(()),
                Err(why) => writeln!(text, "[-] {name}: {why}"),
            };
        }
        text.push_str(if self.ready { "ready\n" } else { "not ready\n" });
        text
    }
}

/// The routes `/livez`, `/readyz` and `/metrics`.
fn router(readiness: Readiness, registry: Registry) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .with_state((readiness, registry))
}

async fn readyz(State((readiness, _)): State<(Readiness, Registry)>, uri: Uri) -> (StatusCode, String) {
    let verbose = uri
        .query()
        .is_some_and(|query| query.split('&').any(|part| part.split('=').next().is_some_and(|key| key == "verbose")));
    let report = readiness.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, report.text(verbose))
}

async fn scrape(State((_, registry)): State<(Readiness, Registry)>, headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok()).unwrap_or_default();
    match registry.render() {
        Ok(text) if accepted.contains("application/openmetrics-text") => {
            ([(header::CONTENT_TYPE, metrics::OPEN_METRICS)], text).into_response()
        }
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CLASSIC)], metrics::classic(&text)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Serves [`router`] on `listener` until `shutdown` resolves.
///
/// # Errors
/// If the listener fails for good.
pub(crate) async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    registry: Registry,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(readiness, registry)).with_graceful_shutdown(shutdown).await
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::{HeaderValue, Request};
    use tower::ServiceExt;

    use super::*;

    async fn get(readiness: &Readiness, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(readiness.clone(), Registry::default()).oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_names_what_is_not_ready() {
        let readiness = Readiness::default();
        let sets = readiness.gate("caches: partitionsets");
        let partitions = readiness.gate("caches: partitions");
        sets.open();
        let (status, text) = get(&readiness, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(text, "[-] caches: partitions: not yet\nnot ready\n");
        partitions.explain(&"partitions is forbidden");
        sets.explain(&"is open already");
        let text = get(&readiness, "/readyz").await.1;
        assert_eq!(text, "[-] caches: partitions: not yet: partitions is forbidden\nnot ready\n");
        partitions.open();
        assert_eq!(get(&readiness, "/readyz").await, (StatusCode::OK, "ok\n".to_owned()));
        let (_, text) = get(&readiness, "/readyz?verbose").await;
        assert_eq!(text, "[+] caches: partitionsets: ok\n[+] caches: partitions: ok\nready\n");
    }

    #[tokio::test]
    async fn once_ready_only_what_another_replica_does_better_counts() {
        let readiness = Readiness::default();
        let bundle = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&bundle);
        readiness.check("bundle", Counts::UntilReady, move || {
            if seen.load(Ordering::Relaxed) { Ok(()) } else { Err("differs".to_owned()) }
        });
        let certificate = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&certificate);
        readiness.check("certificate", Counts::Always, move || {
            if seen.load(Ordering::Relaxed) { Ok(()) } else { Err("expired".to_owned()) }
        });
        assert!(!readiness.report().ready);
        bundle.store(true, Ordering::Relaxed);
        assert!(readiness.report().ready);
        bundle.store(false, Ordering::Relaxed);
        let (status, text) = get(&readiness, "/readyz?verbose=1").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("[-] bundle: differs"), "{text}");
        certificate.store(false, Ordering::Relaxed);
        assert!(!readiness.report().ready);
    }

    #[tokio::test]
    async fn draining_is_not_ready_and_alive() {
        let readiness = Readiness::default();
        assert!(!readiness.report().ready, "no check was added");
        readiness.gate("all").open();
        assert!(readiness.report().ready);
        readiness.drain();
        assert_eq!(get(&readiness, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(get(&readiness, "/livez").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_are_in_the_format_that_the_scraper_accepts() {
        for (accept, wanted) in [
            ("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3", metrics::OPEN_METRICS),
            ("text/plain", metrics::CLASSIC),
        ] {
            let request = Request::get("/metrics").header(header::ACCEPT, accept).body(Body::empty()).unwrap();
            let response = router(Readiness::default(), Registry::default()).oneshot(request).await.unwrap();
            assert_eq!(
                (response.status(), &response.headers()[header::CONTENT_TYPE]),
                (StatusCode::OK, &HeaderValue::from_static(wanted))
            );
        }
    }
}
