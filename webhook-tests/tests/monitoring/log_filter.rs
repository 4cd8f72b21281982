//! The log filter can be changed while the controller runs.

use std::fs;
use std::time::{Duration, Instant};

use webhook_tests::{StartOptions, free_port, harness};

use crate::prometheus::{SOON, folder};

/// Between two looks at a log.
const PAUSE: Duration = Duration::from_millis(50);

#[test]
fn a_file_changes_the_log_filter_of_a_running_controller_and_its_absence_changes_it_back() {
    let file = folder("log-filter").join("filter");
    let options = StartOptions {
        webhook_port: Some(free_port()),
        arguments: vec![format!("--log-filter-file={}", file.display())],
        ..StartOptions::default()
    };
    let mut controller = harness().installation().start_with(options).expect("a controller");
    controller.wait_ready().expect("a ready controller");
    let await_filter = |filter: &str, times: usize| {
        let deadline = Instant::now() + SOON;
        let changed = format!(r#""message":"the log filter has changed","filter":"{filter}""#);
        while controller.log().matches(&changed).count() < times {
            assert!(Instant::now() < deadline, "no {changed}\n{}", controller.log());
            std::thread::sleep(PAUSE);
        }
    };
    assert!(!controller.log().contains(r#""level":"DEBUG""#));
    fs::write(&file, "info,atomix_controller=debug\n").expect("a file");
    await_filter("info,atomix_controller=debug", 1);
    fs::remove_file(&file).expect("a file");
    await_filter("info", 1);
    let deadline = Instant::now() + SOON;
    fs::write(&file, "debug").expect("a file");
    while !controller.log().contains(r#""level":"DEBUG""#) {
        assert!(Instant::now() < deadline, "{}", controller.log());
        std::thread::sleep(PAUSE);
    }
}
