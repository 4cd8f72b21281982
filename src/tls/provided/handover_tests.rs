use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::*;

const NAME: &str = "keeper.home.svc";
const HOLD_DOWN: Duration = Duration::from_secs(60);

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(issuer: &Authority) -> Vec<CertificateDer<'static>> {
    let params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    vec![params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()]
}

fn bundle(authorities: &[&Authority]) -> Bundles {
    let pem: String = authorities.iter().map(|authority| authority.pem()).collect();
    Bundles::Found(vec![("a".to_owned(), pem.into_bytes())])
}

/// Two authorities, what they have signed, and what is trusted by two configurations.
struct Scene {
    old: Authority,
    new: Authority,
    leaves: [Vec<CertificateDer<'static>>; 2],
    trust: [Trust; 2],
    start: Instant,
}

impl Scene {
    /// Everything is settled with the old one.
    fn new() -> Self {
        let (old, new) = (authority("old"), authority("new"));
        let leaves = [leaf(&old), leaf(&new)];
        let start = Instant::now();
        let mut trust = Trust::default();
        trust.see(bundle(&[&old]), start, HOLD_DOWN);
        Self { old, new, leaves, trust: [trust.clone(), trust], start: start + HOLD_DOWN }
    }

    fn waits(&self, after: Duration) -> bool {
        let handover = Handover { served: &self.leaves[0], new: &self.leaves[1], name: NAME };
        handover.wait(&self.trust, SystemTime::now(), self.start + after, HOLD_DOWN).is_some()
    }
}

#[test]
fn a_certificate_waits_until_every_api_server_has_had_the_time_to_trust_its_authority() {
    let mut scene = Scene::new();
    assert!(scene.waits(HOLD_DOWN * 100));
    let both = bundle(&[&scene.old, &scene.new]);
    scene.trust[0].see(both.clone(), scene.start, HOLD_DOWN);
    assert!(scene.waits(HOLD_DOWN * 100), "the other configuration does not trust it");
    scene.trust[1].see(both.clone(), scene.start + HOLD_DOWN, HOLD_DOWN);
    assert!(scene.waits(HOLD_DOWN + HOLD_DOWN / 2));
    // Events that change nothing do not prolong it.
    scene.trust[1].see(both, scene.start + HOLD_DOWN * 2, HOLD_DOWN);
    assert!(!scene.waits(HOLD_DOWN * 2));
}

#[test]
fn a_certificate_that_is_trusted_like_the_one_before_it_does_not_wait() {
    let mut scene = Scene::new();
    scene.leaves[1] = leaf(&scene.old);
    assert!(!scene.waits(Duration::ZERO));
    let both = bundle(&[&scene.old, &scene.new]);
    scene.trust[0].see(both, scene.start, HOLD_DOWN);
    assert!(!scene.waits(Duration::ZERO));
}

#[test]
fn nothing_waits_for_the_sake_of_a_certificate_that_is_not_trusted() {
    let mut scene = Scene::new();
    scene.trust[1].see(bundle(&[&scene.new]), scene.start, HOLD_DOWN);
    assert!(!scene.waits(Duration::ZERO));
    let mut scene = Scene::new();
    scene.trust[0].see(Bundles::Missing, scene.start, HOLD_DOWN);
    assert!(!scene.waits(Duration::ZERO));
    let mut scene = Scene::new();
    scene.leaves[0] = Vec::new();
    assert!(!scene.waits(Duration::ZERO), "nothing is served yet");
}

#[test]
fn everything_that_an_api_server_may_still_go_by_is_remembered() {
    let mut scene = Scene::new();
    let old = bundle(&[&scene.old]);
    let [both, reversed] = [bundle(&[&scene.old, &scene.new]), bundle(&[&scene.new, &scene.old])];
    for trust in &mut scene.trust {
        trust.see(both.clone(), scene.start, HOLD_DOWN);
        trust.see(reversed.clone(), scene.start + HOLD_DOWN / 4, HOLD_DOWN);
    }
    assert!(scene.waits(HOLD_DOWN / 2), "an API server may trust the old one only");
    assert!(!scene.waits(HOLD_DOWN));
    for _ in 0..100 {
        scene.trust[0].see(old.clone(), scene.start + HOLD_DOWN, HOLD_DOWN);
        scene.trust[0].see(both.clone(), scene.start + HOLD_DOWN, HOLD_DOWN);
    }
    assert!(scene.trust[0].possible(scene.start, HOLD_DOWN).count() <= 4);
}
