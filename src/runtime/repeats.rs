//! Leaves out warnings that repeat those of a moment ago, so that a lasting condition is logged when it begins and when it
//! changes.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// How long after the last of the same warnings the next is logged again: longer than the longest wait of any retry.
const OVER: Duration = Duration::from_secs(150);
/// Warnings that are remembered.
const MAX_REMEMBERED: usize = 1024;

/// Lets a warning or an error pass that differs from those of the last minutes, and every event of another level.
#[derive(Debug, Default)]
pub struct Repeats(Mutex<HashMap<u64, Instant>>);

impl Repeats {
    /// Records that an event has happened at `now`. Returns whether it is the first of its kind for a while.
    fn is_new(&self, event: u64, now: Instant) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_REMEMBERED {
            seen.retain(|_, at| now.saturating_duration_since(*at) < OVER);
        }
        if seen.len() >= MAX_REMEMBERED {
            seen.clear();
        }
        seen.insert(event, now).is_none_or(|at| now.saturating_duration_since(at) >= OVER)
    }
}

impl<S> Filter<S> for Repeats {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        *event.metadata().level() > Level::WARN || self.is_new(hash(event), Instant::now())
    }
}

/// A hash of the target and all fields of an event.
fn hash(event: &Event<'_>) -> u64 {
    struct Fields(DefaultHasher);
    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            (field.name(), format!("{value:?}")).hash(&mut self.0);
        }
    }
    let mut fields = Fields(DefaultHasher::new());
    event.metadata().target().hash(&mut fields.0);
    event.record(&mut fields);
    fields.0.finish()
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;

    use tracing_subscriber::Layer;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::prelude::*;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_warning_that_lasts_is_logged_once_and_again_when_it_changes() {
        let lines = Lines::default();
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(lines.clone());
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(Repeats::default()));
        tracing::subscriber::with_default(subscriber, || {
            for error in ["refused", "refused", "away", "refused"] {
                tracing::warn!(error, "trying again");
                tracing::info!("done");
            }
        });
        let written = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(written.matches("trying again").count(), 2, "{written}");
        assert_eq!(written.matches("done").count(), 4, "{written}");
    }

    #[test]
    fn a_warning_that_comes_again_after_a_while_is_logged_again() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        let at = |seconds| repeats.is_new(1, start + Duration::from_secs(seconds));
        assert_eq!([at(0), at(60), at(120), at(240), at(400)], [true, false, false, false, true]);
        assert!((2..5000).all(|event| repeats.is_new(event, start)));
        assert!(repeats.0.lock().unwrap().len() <= MAX_REMEMBERED);
    }
}
