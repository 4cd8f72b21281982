//! The certificate that is served.

use std::time::SystemTime;

use k8s_openapi::jiff::Timestamp;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::observation::Served;
use super::super::report::{Diagnosis, Problem};
use crate::tls::{Names, verify};

pub(super) fn diagnose(served: &Served, names: &Names, now: SystemTime) -> Diagnosis {
    let forward = format!(
        "kubectl -n {} port-forward service/{} 9443:443, and give --address=localhost:9443",
        names.namespace(),
        names.controller()
    );
    let (address, chain) = match served {
        Served::Chain(address, chain) => (address, chain),
        Served::NoAddress => return Err(Problem::skipped(format!("the address is not known; {forward}"))),
        Served::Unreachable { address, why, is_given: true } => {
            let remedy = "see whether a pod of the controller is ready, and whether something keeps you from its port";
            return Err(Problem::failed(format!("{address}: {why}"), remedy));
        }
        Served::Unreachable { address, why, is_given: false } => {
            let message =
                format!("{address} cannot be reached from here ({why}). From outside of the cluster: {forward}");
            return Err(Problem::skipped(message));
        }
    };
    let remedy = "the log of the replica says why it has no other; deleting its pod makes one";
    let failed = |message: String| Problem::failed(message, remedy);
    let leaf = chain.first().ok_or_else(|| failed(format!("{address} serves no certificate")))?;
    let (_, x509) =
        X509Certificate::from_der(leaf).map_err(|_| failed(format!("the certificate of {address} cannot be read")))?;
    let (from, until) = (x509.validity().not_before.timestamp(), x509.validity().not_after.timestamp());
    let is_valid = Timestamp::try_from(now).is_ok_and(|now| (from..until).contains(&now.as_second()));
    let [from, until] = [from, until].map(|at| Timestamp::from_second(at).unwrap_or_default());
    if !is_valid {
        return Err(failed(format!("the certificate of {address} is valid from {from} until {until}, not now")));
    }
    let name = names.server_name();
    if verify::is_for(leaf, &name).is_err() {
        let message = format!("the certificate of {address} is not for {name}");
        return Err(Problem::failed(message, "see what else answers there, and --controller-name"));
    }
    Ok(format!("{address} serves one for {name}, valid until {until}, signed by {}", x509.issuer()))
}
