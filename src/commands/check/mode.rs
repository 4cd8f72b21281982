//! The source of the webhooks' certificates, as the Deployment configures it.

use k8s_openapi::api::apps::v1::Deployment;

use crate::tls::Mode;

/// The option that sets the source of certificates, and its variable.
const OPTION: (&str, &str) = ("--webhook-certificate", "WEBHOOK_CERTIFICATE");

/// The source of certificates by the arguments and variables of the Deployment; the default if it cannot be parsed.
pub(super) fn mode_of(deployment: Option<&Deployment>) -> Mode {
    let pod = deployment.and_then(|deployment| deployment.spec.as_ref()?.template.spec.as_ref());
    let containers = pod.map(|pod| pod.containers.as_slice()).unwrap_or_default();
    let said = containers.iter().find_map(|container| {
        let mut environment = container.env.iter().flatten().filter(|variable| variable.name == OPTION.1);
        // The last argument of a kind wins, and any over the variable.
        argument(container.args.as_deref().unwrap_or_default())
            .or_else(|| environment.next_back().and_then(|variable| variable.value.clone()))
    });
    said.and_then(|said| said.parse().ok()).unwrap_or_default()
}

fn argument(arguments: &[String]) -> Option<String> {
    let mut found = None;
    for (index, argument) in arguments.iter().enumerate() {
        match argument.strip_prefix(OPTION.0).map(|rest| rest.strip_prefix('=')) {
            Some(Some(value)) => found = Some(value.to_owned()),
            Some(None) if argument == OPTION.0 => found = arguments.get(index + 1).cloned(),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tls::source::Source;

    #[test]
    fn the_mode_is_the_deployments() {
        let of = |container: serde_json::Value| {
            let deployment = json!({"spec": {"selector": {}, "template": {"spec": {"containers": [container]}}}});
            mode_of(Some(&serde_json::from_value(deployment).unwrap()))
        };
        let secret = |name: &str| Mode::Provided(Source::Secret(name.to_owned()));
        assert_eq!(mode_of(None), Mode::SelfSigned);
        assert_eq!(of(json!({"name": "c", "args": ["run"]})), Mode::SelfSigned);
        assert_eq!(of(json!({"name": "c", "args": ["run", "--webhook-certificate=self-signed"]})), Mode::SelfSigned);
        assert_eq!(of(json!({"name": "c", "args": ["run", "--webhook-certificate=secret:a"]})), secret("a"));
        assert_eq!(of(json!({"name": "c", "args": ["run", "--webhook-certificate", "secret:b"]})), secret("b"));
        let variable = json!([{"name": "WEBHOOK_CERTIFICATE", "value": "files:/c"}]);
        assert_eq!(of(json!({"name": "c", "env": variable})), Mode::Provided(Source::Files("/c".into())));
        assert_eq!(of(json!({"name": "c", "env": variable, "args": ["--webhook-certificate=secret:a"]})), secret("a"));
    }
}
