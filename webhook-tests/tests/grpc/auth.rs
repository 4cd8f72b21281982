//! The API for those only whom the API server knows and lets.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use atomix_controller::grpc::proto::controller::controller_service_client::ControllerServiceClient;
use atomix_controller::grpc::proto::controller::{PartitionElectionRequest, PartitionGroupId, PartitionId};
use serde_json::json;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use webhook_tests::{Controller, Link, Namespace, StartOptions};

use crate::examples::apply;
use crate::support::{ground, set};
use crate::wire::{await_true, groups, start, start_with};

/// A ServiceAccount of a namespace, with a token in a file.
struct Account {
    namespace: String,
    token: String,
    file: PathBuf,
}

impl Account {
    fn new(namespace: &Namespace, name: &str) -> Self {
        let kubectl = namespace.kubectl();
        kubectl.ok(&["create", "serviceaccount", name]);
        let token = kubectl.ok(&["create", "token", name]).trim().to_owned();
        let file = std::env::temp_dir().join(format!("webhook-tests-{}-{name}.token", namespace.name()));
        std::fs::write(&file, &token).expect("a file");
        Self { namespace: namespace.name().to_owned(), token, file }
    }

    /// Runs `groups` with its token.
    fn groups(&self, controller: &Controller, arguments: &[&str]) -> (i32, String) {
        let file = self.file.to_string_lossy();
        groups(controller, &[arguments, &["--token-file", &file, "--namespace", &self.namespace]].concat())
    }

    /// Stands for election with its token: what the answer was.
    fn enter(&self, controller: &Controller, group: &str) -> (Code, String) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let endpoint = Endpoint::from_shared(format!("http://{}", controller.grpc_addr())).expect("an address");
            let mut client = ControllerServiceClient::new(endpoint.connect().await.expect("a connection"));
            let id = PartitionGroupId { name: group.to_owned(), namespace: self.namespace.clone() };
            let partition_id = Some(PartitionId { partition: 1, group: Some(id) });
            let mut request = Request::new(PartitionElectionRequest { partition_id, member: format!("{group}-1-0") });
            let header = format!("Bearer {}", self.token).parse().expect("a header");
            request.metadata_mut().insert("authorization", header);
            let status = client.enter_election(request).await.expect_err("no such partition");
            (status.code(), status.message().to_owned())
        })
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Both tests give and take the controller's right to ask.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reviews(resource: &str) -> usize {
    let audit = ground().control_plane.audit();
    audit.iter().filter(|entry| entry.resource == resource).count()
}

#[test]
fn everybody_may_do_over_grpc_what_they_may_do_with_kubectl() {
    let _alone = alone();
    let ground = ground();
    let controller = start(&["--grpc-auth=kubernetes"]);
    let log = controller.log();
    assert!(
        log.contains("bearer tokens are sent in the clear") && !log.contains("every client that reaches it"),
        "{log}"
    );
    let namespace = Namespace::new(ground.control_plane.kubectl(), "auth");
    let kubectl = namespace.kubectl();
    let (reader, owner, nobody) =
        (Account::new(&namespace, "reader"), Account::new(&namespace, "owner"), Account::new(&namespace, "nobody"));

    // Without the rights of the example, the controller cannot ask.
    let binding = ["delete", "clusterrolebinding", "atomix-controller-auth-delegator", "--ignore-not-found"];
    ground.control_plane.kubectl().ok(&binding);
    await_true("it may not ask", || owner.groups(&controller, &["list"]).0 == 3);
    assert!(controller.log().contains("system:auth-delegator"));
    apply(&kubectl, "grpc-auth.yaml");
    let account = |name: &str| format!("--serviceaccount={}:{name}", namespace.name());
    kubectl.ok(&["create", "role", "reader", "--verb=get,list", "--resource=partitionsets.k8s.atomix.io"]);
    kubectl.ok(&["create", "rolebinding", "reader", "--role=reader", &account("reader")]);
    kubectl.ok(&["create", "rolebinding", "owner", "--clusterrole=atomix-client", &account("owner")]);
    kubectl.ok(&["create", "rolebinding", "node", "--clusterrole=atomix-node", &account("owner")]);
    await_true("rights are known", || {
        owner.groups(&controller, &["list"]).0 == 0 && reader.groups(&controller, &["list"]).0 == 0
    });

    let created = owner.groups(&controller, &["create", "g", "--protocol=log"]);
    assert_eq!(created.0, 0, "{}", created.1);
    assert_eq!(reader.groups(&controller, &["get", "g"]).0, 0);
    let user = |name: &str| format!("user \"system:serviceaccount:{}:{name}\" cannot", namespace.name());
    for (arguments, verb) in [(&["create", "h", "--protocol=log"][..], "create"), (&["delete", "g"], "delete")] {
        let (code, said) = reader.groups(&controller, arguments);
        assert_ne!(code, 0);
        let resource = format!(
            "{verb} resource \"partitionsets\" in API group \"k8s.atomix.io\" in the namespace {:?}",
            namespace.name()
        );
        for part in [user("reader"), resource, "PermissionDenied".to_owned()] {
            assert!(said.contains(&part), "{part}: {said}");
        }
    }
    for arguments in [&["list"][..], &["get", "g"]] {
        let (code, said) = nobody.groups(&controller, arguments);
        assert!(code != 0 && said.contains(&user("nobody")), "{said}");
    }
    // To stand for election is to change the status of a partition. There is no such group, but that is not for all to know.
    let (code, said) = reader.enter(&controller, "missing");
    assert_eq!(code, Code::PermissionDenied, "{said}");
    assert!(said.contains("update resource \"partitions/status\"") && said.contains("(name \"missing-1\")"), "{said}");
    assert_eq!(owner.enter(&controller, "missing").0, Code::NotFound);

    let (code, said) = groups(&controller, &["list", "--namespace", namespace.name()]);
    assert!(code != 0 && said.contains("Unauthenticated") && said.contains("Bearer TOKEN"), "{said}");
    let forged = Account {
        token: "a.b.c".to_owned(),
        file: std::env::temp_dir().join(format!("{}.token", namespace.name())),
        namespace: namespace.name().to_owned(),
    };
    std::fs::write(&forged.file, &forged.token).expect("a file");
    let (code, said) = forged.groups(&controller, &["list"]);
    assert!(code != 0 && said.contains("the API server does not accept the token"), "{said}");
    let log = controller.log();
    for account in [&reader, &owner, &nobody, &forged] {
        assert!(!log.contains(&account.token), "a token is in the log");
    }
    // The right alone decides, as it does with kubectl, and not how a set was made.
    kubectl.create_stdin(&set("k", &json!({"template": {"spec": {"protocol": "log"}}})).to_string());
    let (code, said) = reader.groups(&controller, &["delete", "k"]);
    assert!(code != 0 && said.contains("delete resource \"partitionsets\""), "{said}");
    for group in ["g", "k"] {
        assert_eq!(owner.groups(&controller, &["delete", group]).0, 0, "{group}");
    }
}

#[test]
fn many_at_once_ask_the_api_server_once_and_nobody_is_let_in_without_it() {
    let _alone = alone();
    let ground = ground();
    let link = Link::new(&ground.control_plane).expect("a link");
    let controller = start_with(StartOptions {
        server: Some(link.server()),
        arguments: vec!["--grpc-auth=kubernetes".to_owned()],
        ..StartOptions::default()
    });
    let namespace = Namespace::new(ground.control_plane.kubectl(), "asked");
    apply(&namespace.kubectl(), "grpc-auth.yaml");
    let account = Account::new(&namespace, "client");
    let account_of = format!("--serviceaccount={}:client", namespace.name());
    namespace.kubectl().ok(&["create", "rolebinding", "client", "--clusterrole=atomix-client", &account_of]);
    await_true("rights are known", || account.groups(&controller, &["list"]).0 == 0);
    let before = [reviews("tokenreviews"), reviews("subjectaccessreviews")];
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(account.groups(&controller, &["list"]).0, 0));
        }
    });
    let after = [reviews("tokenreviews"), reviews("subjectaccessreviews")];
    // Others may ask meanwhile, and what is remembered may be over once.
    assert!(after[0] - before[0] <= 8 && after[1] - before[1] <= 12, "{before:?} {after:?}");

    link.cut();
    // Whoever is known is let do nothing that was not asked for before.
    let (code, said) = account.groups(&controller, &["get", "never-asked-for"]);
    assert!(code == 3 && said.contains("the API server cannot be asked"), "{said}");
    await_true("what is remembered is over", || {
        let (code, said) = account.groups(&controller, &["list"]);
        code == 3 && said.contains("the API server cannot be asked")
    });
    link.mend();
    await_true("the API server answers again", || account.groups(&controller, &["list"]).0 == 0);
}
