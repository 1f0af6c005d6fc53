//! Serves HTTP/1.1 connections of clients that [long-poll][1], with less than a kilobyte for each parked poll.
//!
//! A general HTTP server keeps buffers for each connection, 16 kB or more, also while the connection only waits. This crate
//! keeps none. It reads a well-formed poll in a buffer of the thread, lets the application answer it, and sends the answer in
//! one piece. It parses polls (`GET` with a query) and the few `POST` requests that a polling client sends between them.
//!
//! It refuses nothing. Any other request, and any unusual one (pipelined, chunked, of another HTTP version, with very many
//! headers), ends the service of the connection here: [`PollConnections::serve`] returns the connection and the bytes that were
//! read, and a general server goes on. So a client sees no difference. What this crate takes for a poll, hyper reads as the
//! same request: a property test and a fuzz target check that.
//!
//! # Use
//!
//! The application implements [`PollHandler`], and [`PendingPoll`] for a poll that waits. The types are generic, so a poll
//! costs no dynamic call and no box.
//!
//! ```
//! use std::{convert::Infallible, future::Future, net::SocketAddr, pin::{Pin, pin}, task::{Context, Poll, ready}, time::Duration};
//! use bytes::Bytes;
//! use http::{HeaderMap, Request, Response, StatusCode};
//! use http_body_util::Full;
//! use hyper::{server::conn::http1, service::service_fn};
//! use hyper_util::rt::TokioIo;
//! use poll_connections::{
//!     Answer, HeadTemplate, PendingPoll, PollConnections, PollHandler, RequestHead, Rewind, Routes, Served, Settings,
//!     WriteLimits, WriteTimeout, poll_deadline,
//! };
//! use tokio::{io::{AsyncReadExt, AsyncWriteExt, duplex}, sync::oneshot, time::{Instant, Sleep}};
//!
//! /// Answers each poll after the time that its query asks for: `GET /alarm?50` after 50 ms.
//! struct Alarms {
//!     template: HeadTemplate,
//! }
//!
//! struct Alarm<'a> {
//!     alarms: &'a Alarms,
//!     due: Instant,
//! }
//!
//! impl PollHandler for Alarms {
//!     const ROUTES: Routes = Routes { poll: "/alarm", posts: &[] };
//!     type Memory = ();
//!     type Pending<'a> = Alarm<'a>;
//!
//!     fn begin(&self, head: &RequestHead<'_, '_>, _: &mut ()) -> Option<Alarm<'_>> {
//!         let milliseconds = head.query().parse().ok()?; // anything else is for hyper
//!         Some(Alarm { alarms: self, due: Instant::now() + Duration::from_millis(milliseconds) })
//!     }
//!
//!     async fn respond(&self, _: Request<Bytes>, _: Option<SocketAddr>) -> Response<Bytes> {
//!         unreachable!("the routes have no POST request")
//!     }
//! }
//!
//! impl PendingPoll for Alarm<'_> {
//!     fn poll_answer(&mut self, timer: Pin<&mut Sleep>, context: &mut Context<'_>) -> Poll<Answer> {
//!         ready!(poll_deadline(timer, self.due, context));
//!         Poll::Ready(Answer::Body(Bytes::from_static(b"it is time")))
//!     }
//!
//!     fn template(&self) -> &HeadTemplate {
//!         &self.alarms.template
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let template = HeadTemplate::new(StatusCode::OK, &HeaderMap::new());
//! let settings = Settings {
//!     first_request_timeout: Duration::from_secs(10),
//!     request_timeout: Duration::from_secs(75),
//!     shutdown: Default::default(),
//!     close_idle: Default::default(),
//! };
//! let connections = PollConnections::new(Alarms { template }, settings);
//! let (mut client, server) = duplex(1024); // a TcpStream in real life
//! let limits = WriteLimits { timeout: Duration::from_secs(20), bytes_per_second: 2048, on_timeout: || () };
//! let server = WriteTimeout::new(server, limits.into()); // clients that do not read are cut off
//! tokio::spawn(async move {
//!     if let Served::HandedOver { stream, read } = connections.serve(server).await {
//!         let hello = service_fn(async |_| Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hyper answers the rest"))));
//!         let stream = TokioIo::new(Rewind::new(read, stream));
//!         let _ = http1::Builder::new().serve_connection(stream, hello).await;
//!     }
//! });
//! let mut answer = vec![0; 1024];
//! for (path, expected) in [("/alarm?5", "it is time"), ("/alarm?0", "it is time"), ("/", "hyper answers the rest")] {
//!     client.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
//!     let length = client.read(&mut answer).await?;
//!     assert!(answer[..length].ends_with(expected.as_bytes()));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [1]: https://www.rfc-editor.org/rfc/rfc6202

mod connection;
mod deadline;
mod head;
mod response;
mod rewind;
mod scratch;
mod write_timeout;

pub use self::{
    connection::{Answer, PendingPoll, PollConnections, PollHandler, Served, Settings, Transport},
    deadline::poll_deadline,
    head::{HEAD_BYTES, HeaderSlots, ParsedHead, RequestHead, Routes, parse_head},
    response::{HeadTemplate, HeaderWriter},
    rewind::Rewind,
    write_timeout::{WriteLimits, WriteTimeout},
};
