//! An upgrade by the commands of the documents ends in what the new file says, also after `kubectl create`.

use std::fs;

use webhook_tests::{MANIFEST, binaries, commands_of, live};

use crate::support::cluster;

/// What an earlier version of the file has more, in lists with keys and in maps: before what, and what.
const FORMER: [(&str, &str); 4] = [
    ("        ports:\n        - name: control\n", "        - {name: FORMER, value: former}\n"),
    ("  # The Atomix API for clients", "  - {name: former, port: 1234, protocol: TCP}\n"),
    ("      enableServiceLinks: false\n", "      dnsPolicy: Default\n"),
    ("type: Opaque\n", "immutable: false\n"),
];

#[test]
fn an_upgrade_after_create_leaves_nothing_of_the_former_file() {
    let cluster = cluster();
    let kubectl = cluster.kubectl();
    let manifest = binaries::workspace().join(MANIFEST);
    let text = fs::read_to_string(&manifest).expect("the manifest");
    let former = FORMER.iter().fold(text, |text, (before, more)| {
        assert_eq!(text.matches(before).count(), 1, "{before:?}");
        text.replace(before, &format!("{more}{before}"))
    });
    let file = cluster.dir().join("former.yaml");
    fs::write(&file, &former).expect("a file");

    kubectl.ok(&["create", "-f", &manifest.to_string_lossy()]);
    let wanted = live(kubectl, &manifest);
    kubectl.ok(&["delete", "-f", &manifest.to_string_lossy()]);

    kubectl.ok(&["create", "-f", &file.to_string_lossy()]);
    assert_ne!(live(kubectl, &manifest), wanted);
    for commands in commands_of("docs/install.md", "Upgrading the controller") {
        let done = kubectl.shell(&commands);
        assert!(done.status.success(), "{done:?}");
    }
    assert_eq!(live(kubectl, &manifest), wanted);
    kubectl.ok(&["delete", "-f", &manifest.to_string_lossy()]);
}
