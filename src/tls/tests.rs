use std::sync::LazyLock;

use kube::Client;
use kube::client::Body;
use tokio::runtime::{Builder, Runtime};

use super::ca::authority::Authority;
use super::ca::leaf_renewal::Renewal;
use super::serving::Resolver;
use super::trust::Bundles;
use super::*;
use crate::runtime::metrics::Registry;
use crate::runtime::tasks::Supervisor;

/// What tasks share, with an API server that never answers.
pub(super) fn context() -> Arc<Context> {
    // For tests without a runtime of their own. Its tasks never run.
    static IDLE: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().unwrap());
    let _entered = IDLE.enter();
    let service = tower::service_fn(|_: hyper::Request<Body>| {
        std::future::pending::<Result<hyper::Response<Body>, tower::BoxError>>()
    });
    context_of(Client::new(service, "default"))
}

/// What tasks share, with this API server.
pub(super) fn context_of(client: Client) -> Arc<Context> {
    let supervisor = Supervisor::new(Registry::default().register());
    Arc::new(Context {
        events: Events::start(client.clone(), "keeper", None, (&supervisor, "events")),
        client,
        names: Names::new("keeper", "home", "x"),
        periods: Periods::default(),
        resolver: Arc::default(),
        metrics: Registry::default().register(),
    })
}

/// A server's configuration with a certificate of `authority`, as [`start`] makes it.
pub(crate) fn server_config(authority: &Arc<Authority>, names: &Names) -> Arc<ServerConfig> {
    Arc::new(serving::configure(served(authority, names), None))
}

/// A certificate of `authority`, served.
pub(super) fn served(authority: &Arc<Authority>, names: &Names) -> Arc<Resolver> {
    let context = context();
    assert_eq!(context.names, *names);
    let (_, authority) = watch::channel(Some(Arc::clone(authority)));
    Renewal::new(Arc::clone(&context), authority).renew(SystemTime::now());
    Arc::clone(&context.resolver)
}

#[test]
fn readiness_waits_until_every_webhook_trusts_what_is_served() {
    let names = Names::new("keeper", "home", "x");
    let ca =
        |generation| Arc::new(Authority::mint(&names, generation, &Periods::default(), SystemTime::now()).unwrap());
    let (first, second) = (ca(1), ca(2));
    let resolver = served(&first, &names);
    let pem = |ca: &Authority| ca.bundle().into_bytes();
    let bundles = |bundles: &[Vec<u8>]| {
        Bundles::Found(bundles.iter().enumerate().map(|(i, bundle)| (format!("w{i}"), bundle.clone())).collect())
    };
    let check = |live: &Bundles| live.accept(&resolver.chain(), &names.server_name(), SystemTime::now());
    assert_eq!(check(&bundles(&[pem(&first), pem(&first)])), Ok(()));
    assert_eq!(check(&bundles(&[[pem(&second), pem(&first)].concat()])), Ok(()));
    for (live, says) in [
        (Bundles::Unknown, "not seen yet"),
        (Bundles::Missing, "no such webhook configuration"),
        (bundles(&[]), "no webhooks"),
        (bundles(&[pem(&first), Vec::new()]), "w1: the bundle has no certificate"),
        (bundles(&[b"garbage".to_vec()]), "w0: the bundle has no certificate"),
        (bundles(&[pem(&second)]), "w0: UnknownIssuer"),
    ] {
        let error = check(&live).unwrap_err();
        assert!(error.contains(says), "{live:?}: {error}");
    }
    let error = bundles(&[pem(&first)]).accept(&[], "keeper.home.svc", SystemTime::now()).unwrap_err();
    assert!(error.contains("no certificate to serve"), "{error}");
}
