//! A deleted client Service comes back at the address that it had, so that clients that hold the address go on.
//!
//! The API server reports the deletion of a Service before it frees the Service's addresses, and refuses a new Service at an
//! address that is not free. Each address that is taken has an `IPAddress` object that names its Service: Kubernetes,
//! "Service ClusterIP allocation".

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::IPAddress;
use kube::Api;
use serde_json::Value;

use crate::api::names::ObjectKey;
use crate::controller::context::Context;
use crate::controller::desired::Desired;
use crate::controller::trouble::Trouble;
use crate::controller::writer::{Done, bounded};
use crate::store::cache::key_of;

/// Milliseconds to wait between looks at an address that the deleted Service still has.
const WAITS: [u64; 7] = [20, 50, 100, 200, 400, 800, 1600];

/// Which object has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// It is free, or the controller may not look.
    None,
    /// The Service that is to come back: the API server has not finished its deletion.
    Former,
    /// Another object, and it will stay so.
    Another,
}

/// Brings a partition's client Service to what is wanted of it, at its former addresses if it had some and they are free.
pub(super) async fn ensure(
    context: &Context,
    mut service: Desired<Service>,
    former: &[IpAddr],
) -> Result<Done, Trouble> {
    let key = key_of(&service.object);
    for wait in WAITS.into_iter().filter(|_| !former.is_empty()) {
        match holder(context, &key, former).await {
            Holder::None => break,
            Holder::Another => {
                forget_addresses(&mut service);
                break;
            }
            // It may be there all the same, and only have lost a label by which it is seen.
            Holder::Former if is_stored(context, &key).await => break,
            Holder::Former => tokio::time::sleep(Duration::from_millis(wait)).await,
        }
    }
    match context.writer.ensure(&service).await {
        // Another Service has taken the address in that moment.
        Err(trouble) if trouble.is_refusal() && !former.is_empty() => {
            forget_addresses(&mut service);
            context.writer.ensure(&service).await
        }
        result => result,
    }
}

async fn holder(context: &Context, service: &ObjectKey, addresses: &[IpAddr]) -> Holder {
    let taken: Api<IPAddress> = Api::all(context.client.clone());
    let mut holder = Holder::None;
    for address in addresses {
        match bounded(taken.get_opt(&address.to_string())).await {
            Ok(Some(taken)) if is_of(&taken, service) => holder = Holder::Former,
            Ok(Some(_)) => return Holder::Another,
            Ok(None) => {}
            Err(error) => tracing::debug!(%service, %address, %error, "it is unknown whether an address is free"),
        }
    }
    holder
}

fn is_of(taken: &IPAddress, service: &ObjectKey) -> bool {
    let parent = taken.spec.as_ref().map(|spec| &spec.parent_ref);
    parent.is_some_and(|parent| {
        parent.resource == "services"
            && parent.name == service.name
            && parent.namespace.as_deref() == Some(&*service.namespace)
    })
}

async fn is_stored(context: &Context, service: &ObjectKey) -> bool {
    let services: Api<Service> = Api::namespaced(context.client.clone(), &service.namespace);
    bounded(services.get_metadata_opt(&service.name)).await.is_ok_and(|stored| stored.is_some())
}

fn forget_addresses(service: &mut Desired<Service>) {
    if let Some(spec) = service.initial.get_mut("spec").and_then(Value::as_object_mut) {
        spec.retain(|field, _| field != "clusterIP" && field != "clusterIPs");
    }
}
