//! The clocks of the controller's machines are set while it runs. The API server's stays right, so admission has to work
//! by both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use atomix_controller::tls::verify::verify;
use webhook_tests::{Controller, StartOptions};

use crate::support::{Ground, SOON, ground, metric};
use crate::wire::{HOST, Wire, served_at};

const HOUR: i64 = 60 * 60;
/// What is promised; it is a second or two.
const LOOK: Duration = Duration::from_secs(30);

/// The wall clock of processes that are started with its options.
struct Clock {
    file: PathBuf,
    shim: PathBuf,
}

impl Clock {
    /// It is right, until it is set.
    fn new(directory: &Path) -> Self {
        let clock = Self { file: directory.join("clock-offset"), shim: directory.join("clock.so") };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/clock.c");
        let mut cc = Command::new("cc");
        let made = cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&clock.shim).args([source, "-ldl"]).status();
        assert!(made.expect("a compiler").success());
        clock.set(0);
        clock
    }

    /// It is so many seconds ahead.
    fn set(&self, seconds: i64) {
        // In place: the processes have the file mapped.
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&self.file).expect("a file");
        std::os::unix::fs::FileExt::write_all_at(&file, &seconds.to_ne_bytes(), 0).expect("eight bytes");
    }

    fn options(&self) -> StartOptions {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let environment =
            [("LD_PRELOAD".to_owned(), path(&self.shim)), ("CLOCK_OFFSET".to_owned(), path(&self.file))].into();
        StartOptions { environment, ..StartOptions::default() }
    }
}

/// Waits until what a replica serves verifies at a time so many seconds ahead, and says when that is.
#[track_caller]
fn await_verified(ground: &Ground, replica: &Controller, ahead: i64) -> Duration {
    let begun = Instant::now();
    let bundle = ground.bundles().swap_remove(0);
    loop {
        let now = SystemTime::now();
        let distance = Duration::from_secs(ahead.unsigned_abs());
        let then = if ahead < 0 { now - distance } else { now + distance };
        // By the clock of this process, too.
        let chain = served_at(replica.webhook_addr(), &bundle).expect("a handshake");
        match verify(&chain, bundle.as_bytes(), HOST, then) {
            Ok(()) => return begun.elapsed(),
            Err(error) => assert!(begun.elapsed() < LOOK, "{}, {ahead} s ahead: {error}", replica.name()),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn admission_works_on_when_clocks_jump() {
    let ground = ground();
    let clock = Clock::new(ground.control_plane.dir());
    let mut replicas = ground.installation.replicas_with(2, clock.options(), Duration::ZERO).expect("replicas");
    let wire = Wire::start(&ground, 20, false);
    let certificates = |replica: &Controller| replica.log().matches("serving a new certificate").count();
    // Not only is a process renewed whose clock has jumped: one is started by that clock.
    for (ahead, started) in [(8 * 24 * HOUR, 3), (-12 * HOUR, 4)] {
        let before: Vec<usize> = replicas.controllers.iter().map(certificates).collect();
        clock.set(ahead);
        for replica in &replicas.controllers {
            let took = await_verified(&ground, replica, ahead);
            println!("{} is right {:.1?} after its clock was set to {} h", replica.name(), took, ahead / HOUR);
        }
        replicas.balancer().wait_until(|ready| ready.len() == started - 1).expect("all of them ready");
        ground.assert_admission_works();
        replicas.add().expect("another replica");
        assert_eq!(replicas.balancer().ready().len(), started);
        ground.assert_admission_works();
        for (replica, before) in replicas.controllers.iter().zip(before) {
            assert!(certificates(replica) - before <= 1, "{} certificates", certificates(replica));
        }
    }
    let made = wire.finish();
    println!("{made}");
    assert!(made.failed.is_empty(), "{}", made.failed[0]);
    assert_eq!(
        (made.changes, ground.stored("generation").as_str(), ground.stored("phase").as_str()),
        (0, "1", "Stable")
    );
    let deadline = Instant::now() + SOON;
    while replicas.controllers.iter().filter(|replica| replica.leads()).count() != 1 {
        assert!(Instant::now() < deadline, "not one leader");
        std::thread::sleep(Duration::from_millis(50));
    }
    for replica in &replicas.controllers {
        assert_eq!(metric(replica, "atomix_panics_total"), 0);
        assert_eq!(replica.get("/readyz").expect("an answer").status, 200);
    }
}
