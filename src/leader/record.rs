//! The contents of a Lease.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

use super::LEASE;

/// Longest duration of a Lease that counts: a longer one was not written by a controller and must not stop all of them.
const LONGEST: Duration = Duration::from_secs(60);

/// The holder of a Lease, if it has one.
pub(super) fn holder(lease: &Lease) -> Option<&str> {
    let spec = lease.spec.as_ref()?;
    spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// How long a Lease is valid after a renewal. The Lease's own duration counts: replicas of another version may have another
/// timing.
pub(super) fn duration(lease: &Lease) -> Duration {
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    seconds.map_or(LEASE, Duration::from_secs).min(LONGEST)
}

/// The Lease called `name`, held by `holder` for the first time.
pub(super) fn new(name: &str, holder: &str, now: Timestamp) -> Lease {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    taken(Lease { metadata, spec: None }, holder, now)
}

/// `lease` with a new holder.
pub(super) fn taken(lease: Lease, holder: &str, now: Timestamp) -> Lease {
    let transitions =
        lease.spec.as_ref().map_or(0, |spec| spec.lease_transitions.unwrap_or_default().saturating_add(1));
    let spec = LeaseSpec {
        acquire_time: Some(MicroTime(now)),
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
        lease_transitions: Some(transitions),
        renew_time: Some(MicroTime(now)),
        ..lease.spec.unwrap_or_default()
    };
    Lease { metadata: lease.metadata, spec: Some(spec) }
}

/// `lease`, still held by its holder.
pub(super) fn renewed(mut lease: Lease, now: Timestamp) -> Lease {
    lease.spec.get_or_insert_default().renew_time = Some(MicroTime(now));
    lease
}

/// `lease` without a holder, so that the next one need not wait.
pub(super) fn released(mut lease: Lease, now: Timestamp) -> Lease {
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(String::new());
    spec.lease_duration_seconds = Some(1);
    spec.renew_time = Some(MicroTime(now));
    lease
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_goes_from_hand_to_hand() {
        let now = Timestamp::from_second(100).unwrap();
        let first = new("c", "a", now);
        assert_eq!((holder(&first), duration(&first)), (Some("a"), LEASE));
        let free = released(first, now);
        assert_eq!((holder(&free), duration(&free)), (None, Duration::from_secs(1)));
        let second = taken(free, "b", now);
        assert_eq!((holder(&second), duration(&second)), (Some("b"), LEASE));
        assert_eq!(second.spec.unwrap().lease_transitions, Some(1));
    }

    #[test]
    fn a_duration_that_makes_no_sense_does_not_count() {
        for (seconds, counted) in [(None, 15), (Some(0), 15), (Some(-5), 15), (Some(7), 7), (Some(i32::MAX), 60)] {
            let spec = LeaseSpec { lease_duration_seconds: seconds, ..LeaseSpec::default() };
            let lease = Lease { spec: Some(spec), ..Lease::default() };
            assert_eq!(duration(&lease), Duration::from_secs(counted), "{seconds:?}");
        }
    }
}
