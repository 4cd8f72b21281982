//! The services of the server, each with its longest message.

use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_reflection::server::{Builder, Error};

use super::Service;
use super::proto::DESCRIPTORS;
use super::proto::controller::controller_service_server::ControllerServiceServer;
use super::server::MAX_MESSAGE;

/// The service, health, and reflection of both versions.
///
/// # Errors
/// If the compiled descriptors cannot be read.
pub(crate) fn routes(service: Service, health: HealthServer<impl Health>) -> Result<Routes, Error> {
    let reflection = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Routes::default()
        .add_service(health.max_decoding_message_size(MAX_MESSAGE))
        .add_service(reflection().build_v1()?.max_decoding_message_size(MAX_MESSAGE))
        .add_service(reflection().build_v1alpha()?.max_decoding_message_size(MAX_MESSAGE))
        .add_service(ControllerServiceServer::new(service).max_decoding_message_size(MAX_MESSAGE)))
}
