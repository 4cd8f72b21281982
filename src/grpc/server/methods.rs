//! The methods of the server, as the descriptors of its services have them.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

use crate::grpc::proto::DESCRIPTORS;

/// What a call costs the server, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One request, one answer.
    Unary,
    /// A stream of health or reflection.
    Introspection,
    /// A stream of the Atomix API: the candidacy of a node, which lasts as long as the node.
    Election,
}

/// A method, as metrics name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Method {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// All methods that no service has. A client can make up any number of paths.
static UNKNOWN: LazyLock<Method> = LazyLock::new(|| Method { name: "unknown".to_owned(), kind: Kind::Unary });

/// The methods by path.
static METHODS: LazyLock<HashMap<String, Method>> = LazyLock::new(|| {
    let of = |descriptors: &[u8], streaming: Kind| {
        // The descriptors are compiled in, and a test reads them.
        let pool = DescriptorPool::decode(descriptors).unwrap_or_default();
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let methods = methods.map(|method| {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let kind = if method.is_server_streaming() { streaming } else { Kind::Unary };
            (path, Method { name: method.name().to_owned(), kind })
        });
        methods.collect::<Vec<_>>()
    };
    let introspection = [
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let introspection = introspection.into_iter().flat_map(|descriptors| of(descriptors, Kind::Introspection));
    of(DESCRIPTORS, Kind::Election).into_iter().chain(introspection).collect()
});

impl Method {
    /// The method at a path.
    pub(super) fn at(path: &str) -> &'static Self {
        METHODS.get(path).unwrap_or(&UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_its_name_and_kind() {
        let api = "/atomix.controller.ControllerService";
        for (path, name, kind) in [
            (format!("{api}/CreatePartitionGroup"), "CreatePartitionGroup", Kind::Unary),
            (format!("{api}/DeletePartitionGroup"), "DeletePartitionGroup", Kind::Unary),
            (format!("{api}/GetPartitionGroups"), "GetPartitionGroups", Kind::Unary),
            (format!("{api}/EnterElection"), "EnterElection", Kind::Election),
            ("/grpc.health.v1.Health/Check".to_owned(), "Check", Kind::Unary),
            ("/grpc.health.v1.Health/Watch".to_owned(), "Watch", Kind::Introspection),
            (
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned(),
                "ServerReflectionInfo",
                Kind::Introspection,
            ),
            (
                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo".to_owned(),
                "ServerReflectionInfo",
                Kind::Introspection,
            ),
            ("/x/GetPartitionGroups".to_owned(), "unknown", Kind::Unary),
        ] {
            assert_eq!(*Method::at(&path), Method { name: name.to_owned(), kind }, "{path}");
        }
    }
}
