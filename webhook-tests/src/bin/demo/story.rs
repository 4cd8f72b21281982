//! The steps of the demo, in their order.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use webhook_tests::{ControlPlane, Controller, Event, Installation, Kubectl, MANIFEST, binaries};

use crate::check;
use crate::terminal::{Terminal, step};

/// The set of the project's founding document, as it is shipped.
const EXAMPLE: &str = "deploy/examples/raft.yaml";
const PARTITIONS: usize = 6;
const GROWN: usize = 8;
const SIZE: usize = 3;
/// How long a change of the cluster may take.
const PATIENCE: Duration = Duration::from_secs(60);

const INVALID: &str = r#"apiVersion: k8s.atomix.io/v1alpha1
kind: PartitionSet
metadata:
  name: wrong
spec:
  partitions: 0
  template:
    spec:
      size: -1
      protocol: paxos
      config: "electionTimout: 5s"
"#;

const REASONS: [&str; 4] = [
    "* spec.partitions: Invalid value: 0: must be greater than or equal to 1",
    "* spec.template.spec.size: Invalid value: -1: must be greater than or equal to 1",
    r#"* spec.template.spec.protocol: Unsupported value: "paxos": supported values: "raft", "backup", "log""#,
    r#"* spec.template.spec.config.electionTimout: Unsupported value: "electionTimout": supported values:"#,
];

/// What runs at the end of the story. Dropping it ends everything.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order.
    controller: Controller,
    control_plane: ControlPlane,
}

/// Tells the whole story. If a step fails, the logs are kept, and the error
/// says where.
pub fn tell(once: bool) -> Result<Cluster> {
    println!(
        "This starts a real Kubernetes control plane on this machine, the Atomix controller on it, and a group of\n\
         {PARTITIONS} Raft partitions. Only the pods are simulated: they become Running without containers."
    );
    step(1, "A Kubernetes control plane");
    binaries::controlplane()?;
    let begun = Instant::now();
    let control_plane = ControlPlane::start()?;
    println!(
        "etcd, kube-apiserver, kube-controller-manager, kube-scheduler and, in the kubelet's place, kwok: up in {}.\n",
        seconds(begun.elapsed())
    );
    match rest(&control_plane) {
        Ok(controller) => {
            let cluster = Cluster { controller, control_plane };
            cluster.farewell(once);
            Ok(cluster)
        }
        Err(error) => {
            control_plane.keep_logs();
            Err(error.context(format!("logs are kept in {}", control_plane.logs().display())))
        }
    }
}

fn rest(control_plane: &ControlPlane) -> Result<Controller> {
    let directory = control_plane.dir().join("demo");
    fs::create_dir_all(&directory)?;
    let kubectl = control_plane.kubectl();
    let terminal = Terminal::new(kubectl.clone(), directory);
    terminal.kubectl(&["get", "nodes"])?;

    step(2, "The controller");
    let controller = install(control_plane)?;

    step(3, &format!("A group of {PARTITIONS} Raft partitions, {SIZE} pods each"));
    let example = fs::read_to_string(binaries::workspace().join(EXAMPLE)).context(EXAMPLE)?;
    terminal.file("raft.yaml", &example)?;
    let begun = Instant::now();
    terminal.kubectl(&["create", "-f", "raft.yaml"])?;
    terminal.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "partitionset/raft"])?;
    println!("The group took {}, from the create command to the end of the wait.", seconds(begun.elapsed()));

    step(4, "What it is made of");
    let kinds = "partitionsets,partitions,statefulsets,pods,services,endpoints,endpointslices";
    terminal.kubectl(&["get", kinds])?;
    check::group(kubectl, "raft", PARTITIONS, SIZE)?;
    println!(
        "{PARTITIONS} partitions, {} pods Running. The Service raft resolves to the addresses of the Services raft-1 to \
         raft-{PARTITIONS},\nthat is how clients find the partitions: all of them, or none while the group comes up.\n\
         (The warning is the API server's: older tools read Endpoints, so there are both.)",
        PARTITIONS * SIZE
    );

    step(5, "A set that cannot work");
    terminal.file("wrong.yaml", INVALID)?;
    let refused = terminal.kubectl_fails(&["create", "-f", "wrong.yaml"])?;
    check::says(&refused, &[r#"The PartitionSet "wrong" is invalid:"#])?;
    check::says(&refused, &REASONS)?;
    println!("All four mistakes at once, before anything was created.");

    step(6, &format!("Growing from {PARTITIONS} to {GROWN} partitions"));
    grow(&terminal, control_plane)?;

    step(7, "A group, as Atomix clients make it");
    ask(&terminal, &controller, kubectl)?;

    step(8, "What the fields mean");
    let explained = terminal.kubectl(&["explain", "partitionset.spec"])?;
    check::says(&explained, &["partitions", "partitionSize", "template", "-required-", "Number of partitions"])?;
    Ok(controller)
}

fn install(control_plane: &ControlPlane) -> Result<Controller> {
    binaries::controller()?;
    println!("$ kubectl create -f {MANIFEST}");
    let installation = Installation::new(control_plane)?;
    println!("{}", installation.printed());
    let begun = Instant::now();
    let mut controller = installation.start()?;
    controller.wait_ready()?;
    println!(
        "There are no containers here, so the Deployment is scaled to 0 and the controller runs as process {}, with\n\
         the Deployment's arguments and environment and the rights of its ServiceAccount. It took {} to make its\n\
         certificates, to have the API server trust them and to know the cluster.",
        controller.pid(),
        seconds(begun.elapsed())
    );
    Ok(controller)
}

fn grow(terminal: &Terminal, control_plane: &ControlPlane) -> Result<()> {
    let kubectl = control_plane.kubectl();
    let mut watch = kubectl.watch(&["endpointslices", "-l", "kubernetes.io/service-name=raft"]);
    let mut seen = Vec::new();
    let replicas = format!("--replicas={GROWN}");
    let begun = Instant::now();
    see(&mut seen, watch.next(begun + PATIENCE));
    let said = terminal.kubectl(&["scale", "partitionset", "raft", &replicas])?;
    check::says(
        &said,
        &["Warning: spec.partitions: growing from 6 to 8 re-homes keys", "partitionset.k8s.atomix.io/raft scaled"],
    )?;
    terminal.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "partitionset/raft"])?;
    let took = begun.elapsed();
    terminal.kubectl(&["get", "partitionsets,partitions"])?;
    check::group(kubectl, "raft", GROWN, SIZE)?;
    while seen.last() != Some(&GROWN) {
        see(&mut seen, Some(watch.next(begun + PATIENCE).context("the endpoints did not follow")?));
    }
    ensure!(seen == [PARTITIONS, GROWN], "clients saw these numbers of partitions: {seen:?}");
    println!(
        "Two more partitions in {}. Clients saw {PARTITIONS} addresses and then {GROWN}, never a number between. Scaling down\n\
         would be refused: it destroys data, so it needs the annotation k8s.atomix.io/allow-partition-removal.",
        seconds(took)
    );
    Ok(())
}

/// Creates and finds a group over gRPC.
fn ask(terminal: &Terminal, controller: &Controller, kubectl: &Kubectl) -> Result<()> {
    let server = format!("--server={}", controller.grpc_addr());
    let create =
        ["groups", "create", "default.events", "--protocol=raft", "--partitions=2", "--partition-size=3", &server];
    terminal.controller(&create)?;
    terminal.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "partitionset/events"])?;
    terminal.kubectl(&["get", "partitions,services", "--selector=group=events"])?;
    check::group(kubectl, "events", 2, SIZE)?;
    let found = terminal.controller(&["groups", "get", "default.events", &server])?;
    check::says(&found, &["events-1.default.svc.cluster.local:5678", "events-2.default.svc.cluster.local:5678"])?;
    println!(
        "Clients know nothing of Kubernetes: they create and find groups over gRPC. With grpcurl, that is\n\
         grpcurl -plaintext -d '{{\"id\": {{\"name\": \"events\"}}}}' {} atomix.controller.ControllerService/GetPartitionGroups",
        controller.grpc_addr()
    );
    Ok(())
}

/// Notes how many addresses clients see, each time that it changes.
fn see(seen: &mut Vec<usize>, event: Option<Event>) {
    let addresses = event.map_or(0, |event| check::addresses(&[event.object]).len());
    if addresses > 0 && seen.last() != Some(&addresses) {
        seen.push(addresses);
    }
}

impl Cluster {
    fn farewell(&self, once: bool) {
        if once {
            println!("\nDone: everything was as it should be.");
            return;
        }
        let dir = self.control_plane.dir().display();
        let log = self.controller.log_file().display();
        println!(
            "\nDone: everything was as it should be. Look around, in another terminal:\n\
             \n\
             \x20   export KUBECONFIG={kubeconfig}\n\
             \x20   export PATH={dir}/bin:$PATH\n\
             \n\
             \x20   kubectl describe partitionset raft                  # its events and conditions\n\
             \x20   kubectl get configmap raft-1-config -o yaml     # what the nodes read\n\
             \x20   kubectl delete statefulset raft-1                   # it comes back, and so does everything else\n\
             \x20   kubectl scale partitionset raft --replicas=9\n\
             \x20   kubectl delete partitionset raft                    # and everything that belongs to it\n\
             \x20   tail -f {log}\n\
             \n\
             The cluster stays until Ctrl-C.",
            kubeconfig = self.control_plane.kubeconfig().display(),
        );
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
