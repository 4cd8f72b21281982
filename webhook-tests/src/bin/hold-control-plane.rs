//! Starts a control plane, says where it is in one line of JSON, and holds it
//! until its own end: the victim of the tests that kill a harness.

use std::io;

use webhook_tests::ControlPlane;

fn main() -> anyhow::Result<()> {
    let control_plane = ControlPlane::start()?;
    let place = serde_json::json!({
        "dir": control_plane.dir(),
        "kubeconfig": control_plane.kubeconfig(),
        "supervisor": control_plane.supervisor_pid(),
    });
    println!("{place}");
    // The end of its input ends it in order.
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
