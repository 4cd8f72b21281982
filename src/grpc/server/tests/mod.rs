//! What the tests of the server have in common: a service whose behaviour each test sets, and clients of any kind.

mod calls;
mod connections;
mod drain;
mod limits;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, Request, StatusCode};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::{Response, Status};

use super::*;
use crate::grpc::metrics::{GrpcCallLabels, GrpcMethodLabel};
use crate::grpc::proto::controller::controller_service_server::{ControllerService, ControllerServiceServer};
use crate::grpc::proto::controller::{
    CreatePartitionGroupRequest, CreatePartitionGroupResponse, DeletePartitionGroupRequest,
    DeletePartitionGroupResponse, GetPartitionGroupsRequest, GetPartitionGroupsResponse, PartitionElectionRequest,
    PartitionElectionResponse, PartitionGroup, PartitionGroupId,
};
use crate::runtime::metrics::Registry;

/// What the service of the tests was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Began,
    /// Its call ended before its answer.
    Dropped,
}

struct Watched(mpsc::UnboundedSender<Seen>);

impl Watched {
    fn new(seen: &mpsc::UnboundedSender<Seen>) -> Self {
        let _ = seen.send(Seen::Began);
        Self(seen.clone())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.0.send(Seen::Dropped);
    }
}

/// Does what the name of the group says.
struct StandIn(mpsc::UnboundedSender<Seen>);

#[tonic::async_trait]
impl ControllerService for StandIn {
    async fn create_partition_group(
        &self,
        _: tonic::Request<CreatePartitionGroupRequest>,
    ) -> Result<Response<CreatePartitionGroupResponse>, Status> {
        panic!("create")
    }

    async fn delete_partition_group(
        &self,
        _: tonic::Request<DeletePartitionGroupRequest>,
    ) -> Result<Response<DeletePartitionGroupResponse>, Status> {
        let _watched = Watched::new(&self.0);
        std::future::pending().await
    }

    async fn get_partition_groups(
        &self,
        request: tonic::Request<GetPartitionGroupsRequest>,
    ) -> Result<Response<GetPartitionGroupsResponse>, Status> {
        let name = request.into_inner().id.unwrap_or_default().name;
        if name == "soon" {
            let _watched = Watched::new(&self.0);
            sleep(Duration::from_millis(300)).await;
        }
        let long = if name == "long" { "x".repeat(1 << 20) } else { name };
        let id = Some(PartitionGroupId { name: long, namespace: String::new() });
        let group = PartitionGroup { id, ..PartitionGroup::default() };
        Ok(Response::new(GetPartitionGroupsResponse { groups: vec![group] }))
    }

    type EnterElectionStream = BoxStream<'static, Result<PartitionElectionResponse, Status>>;

    async fn enter_election(
        &self,
        request: tonic::Request<PartitionElectionRequest>,
    ) -> Result<Response<Self::EnterElectionStream>, Status> {
        let (watched, member) = (Watched::new(&self.0), request.into_inner().member);
        let first = stream::once(async { Ok(PartitionElectionResponse::default()) });
        let rest = stream::once(async move {
            assert_ne!(member, "panic");
            std::future::pending::<()>().await;
            drop(watched);
            Err(Status::internal("never"))
        });
        Ok(Response::new(first.chain(rest).boxed()))
    }
}

struct Running {
    address: SocketAddr,
    metrics: Arc<GrpcMetrics>,
    seen: mpsc::UnboundedReceiver<Seen>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

fn no_drain() -> Limits {
    Limits { drain: Duration::ZERO, ..Limits::default() }
}

async fn start(limits: Limits) -> Running {
    start_with(limits, None).await
}

async fn start_with(limits: Limits, tls: Tls) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (metrics, shutdown) = (Registry::default().register(), CancellationToken::new());
    let (sender, seen) = mpsc::unbounded_channel();
    let routes = Routes::new(ControllerServiceServer::new(StandIn(sender)));
    let task = tokio::spawn(serve(listener, tls, routes, Arc::clone(&metrics), limits, shutdown.clone()));
    Running { address, metrics, seen, shutdown, task }
}

/// A body that the tests hand over piece by piece; its end is the channel's.
struct Pieces(mpsc::Receiver<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

struct Client {
    send: SendRequest<Body>,
    /// Ends when the connection does.
    connection: JoinHandle<hyper::Result<()>>,
}

/// A message as gRPC sends it.
fn framed(message: &impl Message) -> Bytes {
    let encoded = message.encode_to_vec();
    let length = u32::try_from(encoded.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &encoded].concat().into()
}

fn get(name: &str) -> Bytes {
    let id = Some(PartitionGroupId { name: name.to_owned(), namespace: String::new() });
    framed(&GetPartitionGroupsRequest { id })
}

fn enter(member: &str) -> Bytes {
    framed(&PartitionElectionRequest { partition_id: None, member: member.to_owned() })
}

async fn until(holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(60), held).await.expect("never");
}

impl Running {
    async fn client(&self) -> Client {
        Client::over(TcpStream::connect(self.address).await.unwrap(), 16 * 1024).await
    }

    /// A client that lets the server send nothing of an answer but its head.
    async fn taking_nothing(&self) -> Client {
        Client::over(TcpStream::connect(self.address).await.unwrap(), 0).await
    }

    fn count(&self, method: &'static str, code: &'static str) -> u64 {
        self.metrics.requests.get_or_create(&GrpcCallLabels { method, code }).get()
    }

    async fn until_counted(&self, method: &'static str, code: &'static str) {
        until(|| self.count(method, code) > 0).await;
    }

    async fn until_connections(&self, count: i64) {
        until(|| self.metrics.connections.get() == count).await;
    }

    async fn sees(&mut self, what: Seen) {
        assert_eq!(timeout(Duration::from_secs(15), self.seen.recv()).await.unwrap(), Some(what));
    }

    async fn stopped(self) {
        timeout(Duration::from_secs(30), self.task).await.unwrap().unwrap();
        assert!(TcpStream::connect(self.address).await.is_err());
        assert_eq!(self.metrics.connections.get(), 0);
        let in_flight = |method| self.metrics.in_flight.get_or_create(&GrpcMethodLabel { method }).get();
        assert_eq!(["GetPartitionGroups", "EnterElection", "unknown"].map(in_flight), [0, 0, 0]);
    }
}

impl Client {
    async fn over(stream: TcpStream, window: u32) -> Self {
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (send, connection) =
            builder.initial_stream_window_size(window).handshake(TokioIo::new(stream)).await.unwrap();
        Self { send, connection: tokio::spawn(connection) }
    }

    async fn begin(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> hyper::Result<hyper::Response<Incoming>> {
        let mut request = Request::post(format!("http://x/atomix.controller.ControllerService/{path}"));
        for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")].iter().chain(headers) {
            request = request.header(*name, *value);
        }
        self.send.ready().await?;
        self.send.send_request(request.body(body).unwrap()).await
    }

    /// The code of a call and its message.
    async fn call(&mut self, path: &str, message: Bytes) -> (i32, String) {
        outcome(self.begin(path, &[], message.into()).await.unwrap()).await
    }

    async fn get(&mut self) {
        assert_eq!(self.call("GetPartitionGroups", get("x")).await.0, 0);
    }

    async fn ended(self) {
        timeout(Duration::from_secs(15), self.connection).await.expect("the connection is still open").unwrap().ok();
    }
}

async fn outcome(response: hyper::Response<Incoming>) -> (i32, String) {
    assert_eq!(response.status(), StatusCode::OK);
    let (mut head, mut body) = response.into_parts();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(trailers) = frame.unwrap().into_trailers() {
            head.headers.extend(trailers);
        }
    }
    let text = |name| HeaderMap::get(&head.headers, name).map_or("", |value| value.to_str().unwrap()).to_owned();
    (text("grpc-status").parse().unwrap(), text("grpc-message").replace("%20", " "))
}

/// Waits for the first message of a stream.
async fn first(response: &mut hyper::Response<Incoming>) {
    let frame = std::future::poll_fn(|cx| Pin::new(response.body_mut()).poll_frame(cx)).await;
    assert!(frame.unwrap().unwrap().is_data());
}
