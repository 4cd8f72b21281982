use super::*;
use crate::tls::serving::Resolver;
use crate::tls::tests::context;
use crate::tls::verify::verify;
use crate::tls::{Names, Periods};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn names() -> Names {
    Names::new("keeper", "home", "x")
}

fn mint(generation: u64, now: SystemTime) -> Authority {
    Authority::mint(&names(), generation, &Periods::default(), now).unwrap()
}

fn renewal(authority: Authority) -> (Renewal, watch::Sender<Option<Arc<Authority>>>) {
    let (sender, authority) = watch::channel(Some(Arc::new(authority)));
    (Renewal::new(context(), authority), sender)
}

fn resolver(renewal: &Renewal) -> Arc<Resolver> {
    Arc::clone(&renewal.context.resolver)
}

#[test]
fn a_leaf_is_replaced_by_the_clock_in_both_directions() {
    let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
    let (mut renewal, _sender) = renewal(mint(1, now - DAY * 3));
    let resolver = resolver(&renewal);
    let authority = renewal.authority.borrow().clone().unwrap();
    assert!(renewal.is_due(&authority, now));
    assert!(resolver.check(now).is_err());
    renewal.renew(now);
    for (at, due, valid) in [
        (now, false, true),
        (now - DAY / 2, false, true),
        (now + DAY * 3, false, true),
        (now + DAY * 5, true, true),
        (now + DAY * 8, true, false),
        (now - DAY * 2, true, true),
    ] {
        assert_eq!((renewal.is_due(&authority, at), resolver.check(at).is_ok()), (due, valid));
    }
    let first = resolver.chain();
    renewal.renew(now + DAY * 3);
    assert_eq!(resolver.chain(), first);
    renewal.renew(now + DAY * 8);
    assert_eq!(resolver.check(now + DAY * 8), Ok(()));
    assert_ne!(resolver.chain(), first);
}

#[test]
fn the_last_leaf_stays_when_the_ca_cannot_make_another() {
    let now = SystemTime::now();
    let (mut renewal, _sender) = renewal(mint(1, now));
    renewal.renew(now);
    let before = resolver(&renewal).chain();
    renewal.renew(now + DAY * 100);
    assert_eq!(resolver(&renewal).chain(), before);
}

#[test]
fn a_ca_that_is_not_valid_is_logged_once_until_it_is_again() {
    let now = SystemTime::now();
    let (mut renewal, sender) = renewal(mint(1, now));
    let failure = |generation| Some((generation, "the CA is not valid now".to_owned()));
    renewal.renew(now + DAY * 100);
    assert_eq!(renewal.last_failure, failure(1));
    sender.send_replace(Some(Arc::new(mint(2, now))));
    renewal.renew(now + DAY * 100);
    assert_eq!(renewal.last_failure, failure(2));
    renewal.renew(now);
    assert_eq!(renewal.last_failure, None);
}

#[test]
fn another_leaf_is_made_when_another_ca_signs_and_not_when_one_is_published() {
    let now = SystemTime::now();
    let first = mint(1, now);
    let (mut renewal, sender) = renewal(first.clone());
    renewal.renew(now);
    let before = resolver(&renewal).chain();
    let published = first.published(&names(), &Periods::default(), now).unwrap();
    sender.send_replace(Some(Arc::new(published.clone())));
    renewal.renew(now);
    assert_eq!(resolver(&renewal).chain(), before);
    let promoted = published.promoted().unwrap();
    sender.send_replace(Some(Arc::new(promoted.clone())));
    renewal.renew(now);
    let chain = resolver(&renewal).chain();
    assert_eq!((chain.get(1), chain.len()), (promoted.cross.as_ref(), 2));
    assert_eq!(renewal.made.as_ref().map(|made| made.authority.current.generation), Some(2));
    sender.send_replace(Some(Arc::new(promoted.retired())));
    renewal.renew(now);
    assert_eq!(resolver(&renewal).chain(), chain);
}

#[tokio::test]
async fn a_new_ca_is_served_at_once() {
    let (renewal, sender) = renewal(mint(1, SystemTime::now()));
    let resolver = resolver(&renewal);
    let task = tokio::spawn(renewal.run());
    for generation in 2..4 {
        let authority = mint(generation, SystemTime::now());
        let bundle = authority.bundle();
        sender.send_replace(Some(Arc::new(authority)));
        let is_served =
            || verify(&resolver.chain(), bundle.as_bytes(), &names().server_name(), SystemTime::now()).is_ok();
        let served = async {
            while !is_served() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), served).await.expect("the former one is served");
    }
    drop(sender);
    task.await.unwrap();
}
