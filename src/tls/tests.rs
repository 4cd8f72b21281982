use super::issue::Ca;
use super::resolver::Renewal;
use super::*;

/// A server's configuration with a certificate of `ca`, as [`start`] makes it.
pub(crate) fn server_config(ca: &Arc<Ca>, names: &Names) -> Arc<ServerConfig> {
    let resolver = served(ca, names);
    Arc::new(configure(Arc::new(rustls::crypto::ring::default_provider()), resolver).unwrap())
}

fn served(ca: &Arc<Ca>, names: &Names) -> Arc<Resolver> {
    let resolver = Arc::new(Resolver::new(Arc::new(rustls::crypto::ring::default_provider())));
    let (_, ca) = watch::channel(Some(Arc::clone(ca)));
    let mut renewal = Renewal { resolver: Arc::clone(&resolver), ca, names: names.clone(), metrics: Metrics::new() };
    renewal.renew(SystemTime::now());
    resolver
}

#[test]
fn readiness_waits_until_every_webhook_trusts_what_is_served() {
    let names = Names::new("keeper", "home", "x");
    let ca = |generation| Arc::new(Ca::mint(&names, generation, SystemTime::now()).unwrap());
    let (first, second) = (ca(1), ca(2));
    let resolver = served(&first, &names);
    let pem = |ca: &Ca| state::pem_of(ca.certificate()).into_bytes();
    let bundles = |bundles: &[Vec<u8>]| {
        Live::Bundles(bundles.iter().enumerate().map(|(i, bundle)| (format!("w{i}"), bundle.clone())).collect())
    };
    let check = |live: &Live| trusted(live, &resolver, &names.server_name(), SystemTime::now());
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
    let error = trusted(&bundles(&[pem(&first)]), &nothing, "keeper.home.svc", SystemTime::now()).unwrap_err();
    assert!(error.contains("no certificate to serve"), "{error}");
}
