//! What keeps a pod from being ready, as its own status tells it.
//!
//! The words do not change while a kubelet tries again: it goes from `ErrImagePull` to `ImagePullBackOff` and back, and
//! from `CrashLoopBackOff` over running to terminated, every few seconds. No message repeats what a container printed,
//! its arguments or its environment.

use super::slim::{Container, Pod, State};

/// Why a pod is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodTrouble {
    /// One word in CamelCase, for a condition.
    pub reason: &'static str,
    /// What follows the pod's name in a sentence.
    pub message: String,
}

/// Reason of a pod for which no Kubernetes node is found.
const UNSCHEDULABLE: &str = "PodUnschedulable";
/// Reason of a pod whose image cannot be had.
const IMAGE: &str = "ImagePullFailed";
/// Reason of a pod of which a container cannot be made.
const CREATE: &str = "ContainerCreateFailed";
/// Reason of a pod whose container ends again and again.
const CRASH: &str = "PodCrashing";
/// Reason of a pod that has ended for good.
const FAILED: &str = "PodFailed";

impl Pod {
    pub(super) fn trouble(&self) -> Option<PodTrouble> {
        let trouble = |reason, message| Some(PodTrouble { reason, message });
        if self.status.phase == "Failed" {
            let words = [self.status.reason.as_deref(), self.status.message.as_deref()];
            let words: Vec<&str> = words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
            return trouble(FAILED, sentence("has failed", &words.join(": ")));
        }
        if let Some(scheduled) = self.condition("PodScheduled")
            && (scheduled.status.as_str(), scheduled.reason.as_deref()) == ("False", Some("Unschedulable"))
        {
            return trouble(
                UNSCHEDULABLE,
                sentence("cannot be scheduled", scheduled.message.as_deref().unwrap_or_default()),
            );
        }
        let containers = [&self.status.init_container_statuses, &self.status.container_statuses];
        containers.into_iter().flatten().filter(|container| !container.ready).find_map(of_container)
    }
}

fn of_container(container: &Container) -> Option<PodTrouble> {
    let State { waiting, running, terminated } = &container.state;
    let waiting_for = waiting.as_ref().and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    match waiting_for {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => {
            let message = format!("cannot pull the image {:?}", container.image);
            return Some(PodTrouble { reason: IMAGE, message });
        }
        // What the kubelet says names the missing ConfigMap, Secret or key, and never a value.
        "CreateContainerConfigError" => {
            let why = waiting.as_ref().and_then(|waiting| waiting.message.as_deref()).unwrap_or_default();
            return Some(PodTrouble { reason: CREATE, message: sentence("cannot make its container", why) });
        }
        "CreateContainerError"
        | "RunContainerError"
        | "PreCreateHookError"
        | "PreStartHookError"
        | "PostStartHookError" => {
            return Some(PodTrouble { reason: CREATE, message: sentence("cannot make its container", waiting_for) });
        }
        _ => {}
    }
    // An init container that has done its work is terminated, and well.
    let ended = terminated.as_ref().filter(|ended| ended.exit_code != 0);
    let again = container.last_state.terminated.as_ref().filter(|_| container.restart_count > 0);
    let ended = ended.or(again.filter(|_| running.is_some() || waiting.is_some()))?;
    let why = match ended.reason.as_deref() {
        None | Some("" | "Error") => format!("exit code {}", ended.exit_code),
        Some(reason) => format!("{reason}, exit code {}", ended.exit_code),
    };
    Some(PodTrouble { reason: CRASH, message: format!("is restarted: its container ended with {why}") })
}

fn sentence(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_pass_by_value, reason = "fixtures read best with literals")]

    use serde_json::{Value, json};

    use super::*;

    fn of(status: Value) -> Option<(&'static str, String)> {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "g-1-0"}, "status": status})).unwrap();
        pod.facts().trouble.map(|trouble| (trouble.reason, trouble.message))
    }

    fn container(state: Value, last: Value, restarts: u32) -> Value {
        json!({"phase": "Pending", "containerStatuses": [
            {"image": "bad:1", "ready": false, "restartCount": restarts, "state": state, "lastState": last}]})
    }

    fn waiting(reason: &str, message: &str) -> Value {
        container(json!({"waiting": {"reason": reason, "message": message}}), json!({}), 0)
    }

    #[test]
    fn each_way_of_failing_has_its_reason_and_names_what_is_missing() {
        let unschedulable = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/4 nodes are available"}]});
        for (status, reason, message) in [
            (unschedulable, UNSCHEDULABLE, "cannot be scheduled: 0/4 nodes are available"),
            (waiting("InvalidImageName", "x"), IMAGE, r#"cannot pull the image "bad:1""#),
            (
                waiting("CreateContainerConfigError", r#"secret "s" not found"#),
                CREATE,
                r#"cannot make its container: secret "s" not found"#,
            ),
            (waiting("RunContainerError", "args: --password"), CREATE, "cannot make its container: RunContainerError"),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}),
                FAILED,
                "has failed: Evicted: low on memory",
            ),
        ] {
            assert_eq!(of(status), Some((reason, message.to_owned())));
        }
    }

    #[test]
    fn the_words_stay_the_same_while_a_kubelet_tries_again() {
        assert_eq!(of(waiting("ErrImagePull", "rpc error: 17")), of(waiting("ImagePullBackOff", "Back-off pulling")));
        let ended = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let backing_off = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
        let running = json!({"running": {"startedAt": "2020-01-01T00:00:00Z"}});
        let told: Vec<_> = [
            container(ended.clone(), json!({}), 0),
            container(backing_off, ended.clone(), 1),
            container(running, ended, 2),
        ]
        .map(of)
        .into();
        assert_eq!(told[0].as_ref().unwrap().1, "is restarted: its container ended with OOMKilled, exit code 137");
        assert!(told.iter().all(|one| one == &told[0]), "{told:?}");
    }

    #[test]
    fn a_pod_that_starts_or_is_ready_is_in_no_trouble() {
        assert_eq!(of(json!({})), None);
        assert_eq!(of(waiting("ContainerCreating", "")), None);
        assert_eq!(of(container(json!({"running": {}}), json!({}), 0)), None);
        let scheduled = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]});
        assert_eq!(of(scheduled), None);
        let mut ready = container(json!({"running": {}}), json!({"terminated": {"exitCode": 1}}), 3);
        ready["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        assert_eq!(of(ready), None);
        let done = json!({"phase": "Pending", "initContainerStatuses": [
            {"image": "i", "ready": false, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]});
        assert_eq!(of(done), None);
    }
}
