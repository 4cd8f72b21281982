use super::authority::Authority;
use super::live::{Live, trusted};
use super::resolver::Renewal;
use super::*;
use crate::runtime::metrics::Registry;

/// A server's configuration with a certificate of `authority`, as [`start`] makes it.
pub(crate) fn server_config(authority: &Arc<Authority>, names: &Names) -> Arc<ServerConfig> {
    let resolver = served(authority, names);
    Arc::new(configure(Arc::new(rustls::crypto::ring::default_provider()), resolver, None).unwrap())
}

pub(super) fn served(authority: &Arc<Authority>, names: &Names) -> Arc<Resolver> {
    let resolver = Arc::new(Resolver::new(Arc::new(rustls::crypto::ring::default_provider())));
    let (_, authority) = watch::channel(Some(Arc::clone(authority)));
    let (names, periods, metrics) = (names.clone(), Periods::default(), Registry::default().register());
    Renewal { resolver: Arc::clone(&resolver), authority, names, periods, metrics, last_failure: None }
        .renew(SystemTime::now());
    resolver
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
        Live::Bundles(bundles.iter().enumerate().map(|(i, bundle)| (format!("w{i}"), bundle.clone())).collect())
    };
    let check = |live: &Live| trusted(live, &resolver.chain(), &names.server_name(), SystemTime::now());
    assert_eq!(check(&bundles(&[pem(&first), pem(&first)])), Ok(()));
    assert_eq!(check(&bundles(&[[pem(&second), pem(&first)].concat()])), Ok(()));
    for (live, says) in [
        (Live::Unknown, "not seen yet"),
        (Live::Missing, "no such webhook configuration"),
        (bundles(&[]), "no webhooks"),
        (bundles(&[pem(&first), Vec::new()]), "w1: the bundle has no certificate"),
        (bundles(&[b"garbage".to_vec()]), "w0: the bundle has no certificate"),
        (bundles(&[pem(&second)]), "w0: UnknownIssuer"),
    ] {
        let error = check(&live).unwrap_err();
        assert!(error.contains(says), "{live:?}: {error}");
    }
    let nothing = Resolver::new(Arc::new(rustls::crypto::ring::default_provider()));
    let error = trusted(&bundles(&[pem(&first)]), &nothing.chain(), "keeper.home.svc", SystemTime::now()).unwrap_err();
    assert!(error.contains("no certificate to serve"), "{error}");
}
