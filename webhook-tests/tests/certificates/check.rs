//! `atomix-controller check` names the layer that is wrong, on a cluster where that is so.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use webhook_tests::{Output, binaries};

use crate::support::{CONFIGURATIONS, Ground, SECRET, SOON, ground};

/// Runs it as the user of a kubeconfig, or as the administrator.
pub fn check(ground: &Ground, kubeconfig: Option<&PathBuf>, arguments: &[&str]) -> Output {
    let kubeconfig = kubeconfig.map_or(ground.control_plane.kubeconfig(), PathBuf::as_path);
    let mut command = Command::new(binaries::controller().expect("a controller"));
    let ended = command.arg("check").args(arguments).env("KUBECONFIG", kubeconfig).output().expect("a process");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Output { stdout: text(ended.stdout), stderr: text(ended.stderr), status: ended.status }
}

/// The lines of layers that are not `ok`, with what it has ended with.
fn odd(ground: &Ground) -> (Option<i32>, Vec<String>) {
    let output = check(ground, None, &[]);
    assert_eq!((output.stdout.lines().count(), output.stderr.as_str()), (7, ""), "{}", output.stdout);
    let odd = output.stdout.lines().filter(|line| !line.starts_with("ok "));
    (output.status.code(), odd.map(str::to_owned).collect())
}

#[test]
fn a_healthy_installation_has_nothing_to_fault_and_nobody_has_to_be_an_administrator() {
    let ground = ground();
    let _replicas = ground.replicas(2);
    assert_eq!(odd(&ground), (Some(0), Vec::new()));
    let report: Value = serde_json::from_str(&check(&ground, None, &["-o", "json"]).stdout).expect("JSON");
    assert_eq!((&report["ok"], &report["layers"][0]["layer"]), (&json!(true), &json!("rights")), "{report:#}");

    // A user without rights gets this answer, and it is no fault.
    let kubectl = ground.kubectl();
    kubectl.ok(&["create", "serviceaccount", "nobody"]);
    let token = kubectl.ok(&["create", "token", "nobody"]);
    let mut config: Value =
        serde_json::from_str(&kubectl.ok(&["config", "view", "--raw", "-o", "json"])).expect("a kubeconfig");
    config["users"][0]["user"] = json!({"token": token.trim()});
    let file = ground.control_plane.dir().join("nobody.kubeconfig");
    std::fs::write(&file, config.to_string()).expect("a file");
    let output =
        check(&ground, Some(&file), &["--address", &format!("localhost:{}", ground.installation.webhook_port())]);
    kubectl.ok(&["delete", "serviceaccount", "nobody"]);
    let skipped = output.stdout.lines().filter(|line| line.starts_with("skipped") && line.contains("forbidden: "));
    assert_eq!((output.status.code(), skipped.count()), (Some(0), 6), "{}", output.stdout);
    assert!(output.stdout.contains("ok       certificate"), "{}", output.stdout);
}

#[test]
fn the_layer_that_is_wrong_is_named() {
    let ground = ground();
    let mut replicas = ground.replicas(1);
    let running = replicas.controllers.remove(0);
    let good = ground.secret()["data"].clone();

    ground.kubectl().ok(&["delete", SECRET[0], SECRET[1]]);
    let (code, lines) = odd(&ground);
    assert!(code == Some(1) && lines.len() == 1 && lines[0].contains("create secret generic"), "{lines:#?}");
    ground.kubectl().ok(&["create", "secret", "generic", SECRET[1]]);
    ground.await_secret(|secret| secret["data"] == good);

    // From now on no controller repairs anything.
    drop(running);
    replicas.balancer().wait_until(<[String]>::is_empty).expect("no replica behind the balancer");
    let mut damaged = good.clone();
    damaged["current.key"] = json!("Z2FyYmFnZQ==");
    ground.replace_data(&damaged);
    let bundle = ground.bundles().swap_remove(0);
    ground.set_bundle((CONFIGURATIONS[1], 1), "garbage", "kubectl");
    let (code, lines) = odd(&ground);
    let layers: Vec<_> =
        lines.iter().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect();
    // Nothing is served any more.
    assert_eq!(code, Some(1));
    assert_eq!(
        layers,
        [
            "FAILED secret",
            "skipped certificate",
            "skipped mutating-bundle",
            "FAILED validating-bundle",
            "FAILED reachability"
        ]
    );
    assert!(lines[0].contains("is damaged: current.key cannot be read"), "{lines:#?}");
    assert!(
        lines[3].contains("caBundle of validate.partitions.k8s.atomix.io: the bundle has no certificate"),
        "{lines:#?}"
    );
    assert!(lines[4].contains("failed calling webhook"), "{lines:#?}");
    ground.set_bundle((CONFIGURATIONS[1], 1), &bundle, "kubectl");
    ground.replace_data(&good);

    // A Service that is none of an alias, without a pod behind it; and without an address, which would lead out of this
    // machine.
    let name = "atomix-controller";
    let alias = ground.kubectl().get_json(&["service", name])["spec"].clone();
    let real = json!({"spec": {"type": "ClusterIP", "clusterIP": "None", "externalName": null, "selector": {"name": name},
        "ports": [{"name": "webhook", "port": ground.installation.webhook_port()}]}});
    ground.kubectl().ok(&["patch", "service", name, "--type=merge", "-p", &real.to_string()]);
    ground.kubectl().wait_until(&["endpointslices"], SOON, |slices| {
        slices.iter().any(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == name)
    });
    let (code, lines) = odd(&ground);
    let back = json!({"spec": {"type": "ExternalName", "externalName": alias["externalName"], "clusterIP": null,
        "clusterIPs": null, "ports": null, "selector": null, "ipFamilies": null, "ipFamilyPolicy": null,
        "internalTrafficPolicy": null}});
    ground.kubectl().ok(&["patch", "service", name, "--type=merge", "-p", &back.to_string()]);
    let service = lines.iter().find(|line| line.contains("service  ")).unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(code == Some(1) && service.contains("has no ready endpoint, of 0"), "{lines:#?}");
    let reach = lines.iter().find(|line| line.contains("reachability")).unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(reach.contains("cannot route to service") && reach.contains("the line about the service"), "{reach}");
}

/// kubectl goes through a proxy there; this program says that it does not.
#[test]
fn a_proxy_is_not_used_and_that_is_said() {
    let ground = ground();
    let run = |kubeconfig: &std::path::Path, proxy: &str| {
        let mut command = Command::new(binaries::controller().expect("a controller"));
        command.args(["check", "-o", "json"]).env("KUBECONFIG", kubeconfig).env("HTTPS_PROXY", proxy);
        let ended = command.output().expect("a process");
        (String::from_utf8_lossy(&ended.stdout).into_owned(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    // Nothing listens on that port.
    let (printed, said) = run(ground.control_plane.kubeconfig(), "http://127.0.0.1:9");
    assert!(printed.contains("\"rights\""), "{printed}{said}");
    assert!(said.starts_with("HTTPS_PROXY names a proxy, which is not used"), "{said}");

    let mut config: Value =
        serde_json::from_str(&ground.kubectl().ok(&["config", "view", "--raw", "-o", "json"])).expect("a kubeconfig");
    config["clusters"][0]["cluster"]["proxy-url"] = json!("socks5://127.0.0.1:9");
    let file = ground.control_plane.dir().join("proxied.kubeconfig");
    std::fs::write(&file, config.to_string()).expect("a file");
    let (printed, said) = run(&file, "");
    assert!(
        printed.is_empty() && said.contains("names the proxy socks5://127.0.0.1:9/ (proxy-url)"),
        "{printed}{said}"
    );
}
