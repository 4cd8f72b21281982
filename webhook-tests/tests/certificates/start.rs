//! The first start.

use std::time::Duration;

use webhook_tests::{Signal, StartOptions, free_port};

use crate::support::{CONFIGURATIONS, SOON, ground, quick};

#[test]
fn three_that_start_at_once_on_nothing_end_with_one_authority() {
    let ground = ground();
    let start = |webhook_port: Option<u16>| {
        let options = StartOptions { webhook_port, ..quick(&[]) };
        let controller = ground.installation.start_with(options).expect("a controller");
        // Before it has done anything; the others would come too late else.
        controller.signal(Signal::Stop);
        controller
    };
    let mut all = [start(None), start(Some(free_port())), start(Some(free_port()))];
    for controller in &all {
        controller.signal(Signal::Cont);
    }
    for controller in &mut all {
        if let Err(error) = controller.wait_ready() {
            ground.control_plane.keep_logs();
            panic!("{error:#}");
        }
    }
    let authority = ground.stored("current.crt");
    for kind in CONFIGURATIONS {
        ground.await_bundle(kind, &authority);
    }
    assert_eq!(ground.stored("generation"), "1");
    // Each serves what that authority has signed: no check of any is red.
    let deadline = std::time::Instant::now() + SOON;
    for controller in &all {
        while controller
            .get("/readyz?verbose")
            .map_or(true, |answer| answer.status != 200 || answer.body.contains("[-]"))
        {
            assert!(std::time::Instant::now() < deadline, "{:?}", controller.get("/readyz?verbose"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    ground.assert_admission_works();
}
