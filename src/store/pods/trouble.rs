//! What keeps a pod from being ready, by its own status.
//!
//! The words do not change while a kubelet tries again: it goes from `ErrImagePull` to `ImagePullBackOff` and back, and
//! from `CrashLoopBackOff` over running to terminated, every few seconds. No message repeats what a container printed,
//! its arguments or its environment.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus};

use super::slim::Pod;

/// Why a pod is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodTrouble {
    /// One word in CamelCase, for a condition.
    pub(crate) reason: &'static str,
    /// What follows the pod's name in a sentence.
    pub(crate) message: String,
    /// Whether it passes by itself within seconds as a rule: it is reported only if it lasts.
    pub(crate) passes: bool,
}

/// Reason of a pod for which no Kubernetes node is found.
const UNSCHEDULABLE: &str = "PodUnschedulable";
/// Reason of a pod with scheduling gates.
const GATED: &str = "PodSchedulingGated";
/// Reason of a pod whose image cannot be had.
const IMAGE: &str = "ImagePullFailed";
/// Reason of a pod of which a container cannot be made.
const CREATE: &str = "ContainerCreateFailed";
/// Reason of a pod whose container ends again and again.
const CRASH: &str = "PodCrashing";
/// Reason of a pod that has ended for good.
const FAILED: &str = "PodFailed";
/// Reason of a pod whose init containers have not done their work.
const INITIALIZING: &str = "PodInitializing";
/// Reason of a pod that works, while a readiness gate is not satisfied.
const READINESS_GATE: &str = "PodReadinessGate";
/// Reason of a pod on a Kubernetes node that does not report.
const NODE: &str = "NodeNotReady";
/// The container of the Atomix node; others in the pod are not the controller's.
const CONTAINER: &str = "atomix";

/// What keeps a pod from being ready, where its status says so.
pub(super) fn of(pod: &Pod) -> Option<PodTrouble> {
    pod.failed().or_else(|| pod.not_scheduled()).or_else(|| pod.of_containers()).or_else(|| pod.not_called_ready())
}

impl Pod {
    fn failed(&self) -> Option<PodTrouble> {
        self.has_phase("Failed").then(|| {
            let words = [self.status.reason.as_deref(), self.status.message.as_deref()];
            let words: Vec<&str> = words.into_iter().flatten().filter(|word| !word.is_empty()).collect();
            lasting(FAILED, sentence("has failed", &words.join(": ")))
        })
    }

    fn not_scheduled(&self) -> Option<PodTrouble> {
        let scheduled = self.condition("PodScheduled").filter(|scheduled| scheduled.status == "False")?;
        match scheduled.reason.as_deref() {
            Some("Unschedulable") => {
                let why = scheduled.message.as_deref().unwrap_or_default();
                Some(passing(UNSCHEDULABLE, sentence("cannot be scheduled", why)))
            }
            Some("SchedulingGated") => {
                let gates: Vec<&str> = self.spec.scheduling_gates.iter().map(|gate| gate.name.as_str()).collect();
                let message = sentence("is not scheduled before its scheduling gates are removed", &gates.join(", "));
                Some(passing(GATED, message))
            }
            _ => None,
        }
    }

    fn of_containers(&self) -> Option<PodTrouble> {
        let init = self.status.init_container_statuses.iter().flatten().map(|container| (container, true));
        let own = self.status.container_statuses.iter().flatten().map(|container| (container, false));
        let mut unready = init.chain(own).filter(|(container, _)| !container.ready);
        let failing = unready.clone().find_map(|(container, is_init)| of_container(container, is_init));
        failing.or_else(|| {
            let is_waiting = self.condition("Initialized").is_some_and(|initialized| initialized.status == "False");
            let (container, _) = unready.find(|(container, is_init)| *is_init && !has_done_its_work(container))?;
            let message = format!("waits for its init container {:?}", container.name);
            is_waiting.then(|| passing(INITIALIZING, message))
        })
    }

    /// A pod of which all containers are ready, and which is not.
    fn not_called_ready(&self) -> Option<PodTrouble> {
        self.condition("ContainersReady").filter(|containers| containers.status == "True")?;
        let ready = self.condition("Ready").filter(|ready| ready.status == "False")?;
        if ready.reason.as_deref() == Some("ReadinessGatesNotReady") {
            let why = ready.message.as_deref().unwrap_or_default();
            return Some(passing(READINESS_GATE, sentence("waits for its readiness gates", why)));
        }
        // Only the kubelet says why; the node lifecycle controller takes the condition away from a node that does not
        // report.
        let unreported = ready.reason.as_deref().unwrap_or_default().is_empty() && !self.spec.node_name.is_empty();
        unreported.then(|| lasting(NODE, format!("is not ready because its node {} is not", self.spec.node_name)))
    }
}

fn lasting(reason: &'static str, message: String) -> PodTrouble {
    PodTrouble { reason, message, passes: false }
}

fn passing(reason: &'static str, message: String) -> PodTrouble {
    PodTrouble { reason, message, passes: true }
}

fn has_done_its_work(container: &ContainerStatus) -> bool {
    let ended = container.state.as_ref().and_then(|state| state.terminated.as_ref());
    ended.is_some_and(|ended| ended.exit_code == 0)
}

fn of_container(container: &ContainerStatus, is_init: bool) -> Option<PodTrouble> {
    let named = match (is_init, container.name.as_str()) {
        (true, name) => format!("init container {name:?}"),
        (false, "" | CONTAINER) => "container".to_owned(),
        (false, name) => format!("container {name:?}"),
    };
    let ContainerState { waiting, running, terminated } = container.state.as_ref()?;
    let waiting_for = waiting.as_ref().and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    match waiting_for {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => {
            return Some(lasting(IMAGE, format!("cannot pull the image {:?}", container.image)));
        }
        // What the kubelet says names the missing ConfigMap, Secret or key, and never a value.
        "CreateContainerConfigError" => {
            let why = waiting.as_ref().and_then(|waiting| waiting.message.as_deref()).unwrap_or_default();
            return Some(lasting(CREATE, sentence(&format!("cannot make its {named}"), why)));
        }
        "CreateContainerError"
        | "RunContainerError"
        | "PreCreateHookError"
        | "PreStartHookError"
        | "PostStartHookError" => {
            return Some(lasting(CREATE, sentence(&format!("cannot make its {named}"), waiting_for)));
        }
        _ => {}
    }
    // An init container that has done its work is terminated, and well.
    let ended = terminated.as_ref().filter(|ended| ended.exit_code != 0);
    let again = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    let again = again.filter(|_| container.restart_count > 0);
    let ended = ended.or(again.filter(|_| running.is_some() || waiting.is_some()))?;
    let why = match ended.reason.as_deref() {
        None | Some("" | "Error") => format!("exit code {}", ended.exit_code),
        Some(reason) => format!("{reason}, exit code {}", ended.exit_code),
    };
    Some(lasting(CRASH, format!("is restarted: its {named} ended with {why}")))
}

fn sentence(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_pass_by_value, reason = "fixtures read best with literals")]

    use serde_json::{Value, json};

    use super::super::PodFacts;
    use super::*;

    fn of(status: Value) -> Option<(&'static str, String)> {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "g-1-0"}, "status": status})).unwrap();
        PodFacts::from(pod).trouble.map(|trouble| (trouble.reason, trouble.message))
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
    fn what_holds_up_a_pod_that_does_not_fail_is_named() {
        let gated = json!({"metadata": {"name": "g-1-0"}, "spec": {"schedulingGates": [{"name": "a.io/x"}, {"name": "b"}]},
            "status": {"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "m"}]}});
        let initializing = json!({"metadata": {"name": "g-1-0"}, "status": {
            "phase": "Pending", "conditions": [{"type": "Initialized", "status": "False"}],
            "initContainerStatuses": [
                {"name": "done", "ready": false, "state": {"terminated": {"exitCode": 0}}},
                {"name": "sync", "ready": false, "state": {"running": {}}}],
            "containerStatuses": [{"name": "atomix", "ready": false, "state": {"waiting": {"reason": "PodInitializing"}}}],
        }});
        let ready = |reason: &str, message: &str| {
            json!({"metadata": {"name": "g-1-0"}, "spec": {"nodeName": "n1"}, "status": {
                "phase": "Running", "containerStatuses": [{"name": "atomix", "ready": true, "state": {"running": {}}}],
                "conditions": [{"type": "ContainersReady", "status": "True"},
                    {"type": "Ready", "status": "False", "reason": reason, "message": message}]}})
        };
        for (pod, reason, message, passes) in [
            (gated, GATED, "is not scheduled before its scheduling gates are removed: a.io/x, b", true),
            (initializing, INITIALIZING, r#"waits for its init container "sync""#, true),
            (
                ready("ReadinessGatesNotReady", "the gate x is not \"True\""),
                READINESS_GATE,
                r#"waits for its readiness gates: the gate x is not "True""#,
                true,
            ),
            (ready("", ""), NODE, "is not ready because its node n1 is not", false),
        ] {
            let trouble = PodFacts::from(serde_json::from_value::<Pod>(pod).unwrap()).trouble.unwrap();
            assert_eq!((trouble.reason, trouble.message.as_str(), trouble.passes), (reason, message, passes));
        }
    }

    #[test]
    fn a_container_that_is_not_the_controllers_is_named() {
        let ended = json!({"terminated": {"exitCode": 1}});
        let status =
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "sync", "ready": false, "state": ended}]});
        assert_eq!(of(status).unwrap().1, r#"is restarted: its init container "sync" ended with exit code 1"#);
        let status =
            json!({"phase": "Running", "containerStatuses": [{"name": "proxy", "ready": false, "state": ended}]});
        assert_eq!(of(status).unwrap().1, r#"is restarted: its container "proxy" ended with exit code 1"#);
    }

    #[test]
    fn the_words_stay_the_same_while_a_kubelet_tries_again() {
        assert_eq!(of(waiting("ErrImagePull", "rpc error: 17")), of(waiting("ImagePullBackOff", "Back-off pulling")));
        let ended = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let backing_off = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
        let running = json!({"running": {"startedAt": "2020-01-01T00:00:00Z"}});
        let troubles: Vec<_> = [
            container(ended.clone(), json!({}), 0),
            container(backing_off, ended.clone(), 1),
            container(running, ended, 2),
        ]
        .map(of)
        .into();
        assert_eq!(troubles[0].as_ref().unwrap().1, "is restarted: its container ended with OOMKilled, exit code 137");
        assert!(troubles.iter().all(|one| one == &troubles[0]), "{troubles:?}");
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
