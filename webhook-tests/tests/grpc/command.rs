//! `atomix-controller groups`: the API for people.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use webhook_tests::{Namespace, binaries, free_port};

use crate::support::ground;

/// Exit code, standard output and standard error.
type Ran = (i32, String, String);

fn groups(server: &str, arguments: &[&str]) -> Ran {
    let output = Command::new(binaries::controller().expect("the controller"))
        .arg("groups")
        .args(arguments)
        .env("ATOMIX_CONTROLLER", server)
        .stdin(Stdio::null())
        .output()
        .expect("a run");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("an exit code"), text(&output.stdout), text(&output.stderr))
}

fn at(address: SocketAddr) -> impl Fn(&[&str]) -> Ran {
    move |arguments| groups(&address.to_string(), arguments)
}

#[test]
fn a_group_is_created_shown_listed_and_deleted_by_people() {
    let ground = ground();
    let namespace = Namespace::new(ground.control_plane.kubectl(), "command");
    let (here, name) = (at(ground.replicas.controllers[0].grpc_addr()), namespace.name());
    let group = format!("{name}.g");
    let options = namespace.kubectl();
    let file = std::env::temp_dir().join(format!("{name}.yaml"));
    std::fs::write(&file, "electionTimeout: 2500ms\n").expect("a file");
    let config = file.to_string_lossy();

    // As the old atomix command spelt it, and as others do.
    let create = ["create", &group, "--protocol=raft", "--partitions=2", "--partitionSize=2", "--config", &config];
    let (code, printed, warned) = here(&create);
    assert_eq!((code, printed), (0, format!("group {name}/g created\n")), "{warned}");
    assert!(warned.starts_with("Warning: ") && warned.contains("quorum"), "{warned}");
    assert_eq!(here(&["create", "h", "-n", name, "--protocol", "log", "--partition-size", "3"]).0, 0);
    assert_eq!(
        options.get_json(&["partitionset", "g"])["spec"]["template"]["spec"]["config"],
        "electionTimeout: 2.5s\n"
    );

    let wide = name.len().max(9);
    let (code, printed, _) = here(&["list", "--namespace", name]);
    let line = |cells: [&str; 5]| {
        format!("{:<wide$}  {:<4}  {:<10}  {:<4}  {}\n", cells[0], cells[1], cells[2], cells[3], cells[4])
    };
    let table = line(["NAMESPACE", "NAME", "PARTITIONS", "SIZE", "PROTOCOL"])
        + &line([name, "g", "2", "2", "raft"])
        + &line([name, "h", "1", "3", "log"]);
    assert_eq!((code, printed), (0, table));

    let (code, printed, _) = here(&["get", &group]);
    assert_eq!(code, 0);
    assert!(printed.contains("Options:    electionTimeout: 2.5s\n"), "{printed}");
    assert!(printed.ends_with(&format!("\n2          g-2.{name}.svc.cluster.local:5678\n")), "{printed}");
    let (_, printed, _) = here(&["get", &group, "-o", "json"]);
    let json: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(json["spec"]["protocol"]["electionTimeout"], json!("2.5s"), "{json}");

    assert_eq!(here(&["delete", &group]), (0, format!("group {name}/g deleted\n"), String::new()));
    let missing = format!("atomix-controller: there is no group {name}/g\n");
    assert_eq!(here(&["get", &group]), (1, String::new(), missing));
    let (code, _, printed) = here(&["delete", &group]);
    assert_eq!((code, printed), (1, format!("atomix-controller: there is no group {name}/g (NotFound)\n")));
    std::fs::remove_file(&file).expect("the file");
}

#[test]
fn what_is_wrong_is_told_to_people_and_in_the_exit_code() {
    let ground = ground();
    let namespace = Namespace::new(ground.control_plane.kubectl(), "mistakes");
    let here = at(ground.replicas.controllers[1].grpc_addr());
    let group = format!("{}.g", namespace.name());
    let (code, printed, error) = here(&["create", &group, "--protocol=raft", "--partitions=1001"]);
    assert_eq!((code, printed.as_str()), (1, ""));
    assert_eq!(
        error,
        "atomix-controller: The PartitionSet \"g\" is invalid: spec.partitions: Invalid value: 1001: must be less than or equal to 1000 (InvalidArgument)\n"
    );
    let file = std::env::temp_dir().join(format!("{}.yaml", namespace.name()));
    std::fs::write(&file, "electionTimout: 5s\n").expect("a file");
    let (code, _, error) = here(&["create", &group, "--protocol=raft", "--config", &file.to_string_lossy()]);
    assert_eq!(code, 1);
    assert!(error.starts_with("atomix-controller: --config config.electionTimout: Unsupported value"), "{error}");
    std::fs::remove_file(&file).expect("the file");
    let (code, _, error) = here(&["create", &group, "--protocol=paxos"]);
    assert_eq!(code, 2);
    assert!(error.contains("must be one of raft, backup, log"), "{error}");

    let unused = format!("127.0.0.1:{}", free_port());
    let (code, _, error) = groups(&unused, &["list"]);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("Unavailable"), "{error}");
}
