//! The methods that there are, and what kind of call each is.

/// What a call takes of the server, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One request, one answer.
    Unary,
    /// A stream that only looks: health, reflection.
    Look,
    /// A stream of the service itself: somebody stands for election as long as it lasts.
    Stand,
}

/// A method, as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

const METHODS: [(&str, Method); 8] = [
    ("/atomix.controller.ControllerService/CreatePartitionGroup", Method::new("CreatePartitionGroup", Kind::Unary)),
    ("/atomix.controller.ControllerService/DeletePartitionGroup", Method::new("DeletePartitionGroup", Kind::Unary)),
    ("/atomix.controller.ControllerService/GetPartitionGroups", Method::new("GetPartitionGroups", Kind::Unary)),
    ("/atomix.controller.ControllerService/EnterElection", Method::new("EnterElection", Kind::Stand)),
    ("/grpc.health.v1.Health/Check", Method::new("Check", Kind::Unary)),
    ("/grpc.health.v1.Health/Watch", Method::new("Watch", Kind::Look)),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Method::new("ServerReflectionInfo", Kind::Look)),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Method::new("ServerReflectionInfo", Kind::Look)),
];

impl Method {
    const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind }
    }

    /// The method at a path. Whatever anybody else thinks of has one name together.
    pub(super) fn at(path: &str) -> Self {
        let known = METHODS.iter().find(|(known, _)| *known == path);
        known.map_or(Self::new("unknown", Kind::Unary), |(_, method)| *method)
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::grpc::proto::DESCRIPTORS;

    #[test]
    fn every_method_of_the_service_is_known_with_its_kind() {
        let set = <prost_types::FileDescriptorSet as prost::Message>::decode(DESCRIPTORS).unwrap();
        let mut seen = 0;
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let kind = if method.server_streaming() { Kind::Stand } else { Kind::Unary };
                    assert_eq!(Method::at(&path), Method { name: Method::at(&path).name, kind }, "{path}");
                    assert_eq!(Method::at(&path).name, method.name(), "{path}");
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, 4);
        assert_eq!(Method::at("/x/GetPartitionGroups").name, "unknown");
    }
}
