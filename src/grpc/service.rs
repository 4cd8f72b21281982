//! `atomix.controller.ControllerService`: reads requests, checks what their callers may do, and answers.

use std::sync::Arc;

use futures::stream::BoxStream;
use tonic::{Request, Response, Status};

use super::access::Verb;
use super::proto::controller::controller_service_server::ControllerService;
use super::proto::controller::{
    CreatePartitionGroupRequest, CreatePartitionGroupResponse, DeletePartitionGroupRequest,
    DeletePartitionGroupResponse, GetPartitionGroupsRequest, GetPartitionGroupsResponse, PartitionElectionRequest,
    PartitionElectionResponse,
};
use super::{Access, Elections, Groups, ids, status};
use crate::api::names::{self, ObjectKey};

/// The service of one replica.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) access: Arc<Access>,
    pub(crate) groups: Arc<Groups>,
    pub(crate) elections: Arc<Elections>,
}

#[tonic::async_trait]
impl ControllerService for Service {
    async fn create_partition_group(
        &self,
        request: Request<CreatePartitionGroupRequest>,
    ) -> Result<Response<CreatePartitionGroupResponse>, Status> {
        let caller = self.access.caller(request.metadata()).await?;
        let CreatePartitionGroupRequest { id, spec } = request.into_inner();
        let key = ids::named_group(id)?;
        self.access.check(&caller, Verb::Create, &key).await?;
        let spec = spec.ok_or_else(|| status::required("spec"))?;
        self.groups.create(key, spec).await?;
        Ok(Response::new(CreatePartitionGroupResponse {}))
    }

    async fn delete_partition_group(
        &self,
        request: Request<DeletePartitionGroupRequest>,
    ) -> Result<Response<DeletePartitionGroupResponse>, Status> {
        let caller = self.access.caller(request.metadata()).await?;
        let key = ids::named_group(request.into_inner().id)?;
        self.access.check(&caller, Verb::Delete, &key).await?;
        self.groups.delete(key, self.access.deletes_any()).await?;
        Ok(Response::new(DeletePartitionGroupResponse {}))
    }

    async fn get_partition_groups(
        &self,
        request: Request<GetPartitionGroupsRequest>,
    ) -> Result<Response<GetPartitionGroupsResponse>, Status> {
        let caller = self.access.caller(request.metadata()).await?;
        let key = ids::group(request.into_inner().id)?;
        self.access.check(&caller, Verb::Get, &key).await?;
        let groups = self.groups.get(key).await?;
        Ok(Response::new(GetPartitionGroupsResponse { groups }))
    }

    type EnterElectionStream = BoxStream<'static, Result<PartitionElectionResponse, Status>>;

    async fn enter_election(
        &self,
        request: Request<PartitionElectionRequest>,
    ) -> Result<Response<Self::EnterElectionStream>, Status> {
        let caller = self.access.caller(request.metadata()).await?;
        let PartitionElectionRequest { partition_id, member } = request.into_inner();
        let (group, partition) = ids::partition(partition_id)?;
        let partition_key = ObjectKey::new(&group.namespace, names::partition(&group.name, partition.into()));
        self.access.check(&caller, Verb::Enter, &partition_key).await?;
        Ok(Response::new(self.elections.enter(group, partition, member).await?))
    }
}
