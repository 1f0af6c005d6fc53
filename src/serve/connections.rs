//! The open connections, and which of them are closed where there is no room for more.
//!
//! A connection is idle while it has no request: before its first one, and between two. Where room is needed, idle connections
//! are closed: first those that never sent a request, and of equals the one that waits for longest. A connection with a request
//! is never closed for room, and a parked poll is a request. Nor is a connection of an operator.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use poll_connections::Transport;
use slab::Slab;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    task::AbortHandle,
    time::{Instant, timeout},
};

use super::Connection;
use crate::metrics;

/// Values of [`Place::idle_since`] that are no time.
const HAS_REQUEST: u64 = 0;
const EVICTED: u64 = 1;
const FIRST_TIME: u64 = 2;
/// How long to wait for a connection to end before looking again.
const RETRY: Duration = Duration::from_millis(100);
/// How often the log says that there is no room.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// All open connections of a server.
pub(super) struct Connections {
    /// The most that may be open.
    limit: usize,
    open: Mutex<Slab<Arc<Place>>>,
    /// Notified when a connection ends.
    ended: Notify,
    start: Instant,
    last_log: Mutex<Option<Instant>>,
}

/// What is known of an open connection.
pub(super) struct Place {
    connections: Arc<Connections>,
    key: usize,
    /// [`HAS_REQUEST`], [`EVICTED`], or since when the connection is idle: microseconds since the server's start, and [`FIRST_TIME`].
    idle_since: AtomicU64,
    had_request: AtomicBool,
    /// Whether it may be closed for room.
    may_go: bool,
    /// The task that serves the connection.
    task: Mutex<Option<AbortHandle>>,
}

/// A place that is free again when this is dropped.
pub(super) struct OwnedPlace(Arc<Place>);

/// A request of the connection is under way while this lives.
pub(super) struct RequestGuard(Arc<Place>);

impl Connections {
    /// No connections yet, and `limit` at most.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: limit.max(1),
            open: Mutex::default(),
            ended: Notify::new(),
            start: Instant::now(),
            last_log: Mutex::default(),
        })
    }

    /// The place of a new connection, which is idle, and may go for room or not.
    pub(super) fn open(self: &Arc<Self>, may_go: bool) -> OwnedPlace {
        let mut open = lock(&self.open);
        let entry = open.vacant_entry();
        let place = Arc::new(Place {
            connections: Arc::clone(self),
            key: entry.key(),
            idle_since: AtomicU64::new(self.now()),
            had_request: AtomicBool::new(false),
            may_go,
            task: Mutex::default(),
        });
        entry.insert(Arc::clone(&place));
        OwnedPlace(place)
    }

    fn now(&self) -> u64 {
        FIRST_TIME + self.start.elapsed().as_micros() as u64
    }

    /// Returns when there is room for another connection.
    pub(super) async fn make_room(&self) {
        while lock(&self.open).len() >= self.limit {
            self.evict_some("the limit of connections is reached").await;
        }
    }

    /// Closes some idle connections and waits a moment until one has ended. `why` is for the log.
    pub(super) async fn evict_some(&self, why: &'static str) {
        let evicted = self.evict();
        if self.may_log() {
            let open = lock(&self.open).len();
            match evicted {
                0 => tracing::error!(
                    open,
                    "{why}, and every connection has a request: new ones wait. Raise the limit of open files (ulimit -n, \
                     LimitNOFILE) or MAX_CONNECTIONS, or add a node"
                ),
                _ => tracing::warn!(open, evicted, "{why}: closing connections without a request"),
            }
        }
        let _ = timeout(RETRY, self.ended.notified()).await;
    }

    /// Closes the connections that may go first, a few at a time, because finding them takes a look at all. Returns how many are
    /// closing, including those of the call before.
    fn evict(&self) -> usize {
        let open = lock(&self.open);
        let count = (open.len() / 64).clamp(1, 32);
        let (mut idle, mut closing) = (Vec::new(), 0);
        for (key, place) in open.iter() {
            match place.idle_since.load(Ordering::Relaxed) {
                HAS_REQUEST => {}
                _ if !place.may_go => {}
                EVICTED => closing += 1,
                since => idle.push((place.had_request.load(Ordering::Relaxed), since, key)),
            }
        }
        if closing > 0 {
            return closing;
        }
        if idle.len() > count {
            idle.select_nth_unstable(count);
            idle.truncate(count);
        }
        idle.into_iter().filter(|(_, since, key)| open[*key].evict(*since)).count()
    }

    fn may_log(&self) -> bool {
        let (mut last, now) = (lock(&self.last_log), Instant::now());
        let may = last.is_none_or(|last| now - last >= LOG_INTERVAL);
        if may {
            *last = Some(now);
        }
        may
    }
}

impl Place {
    /// Says which task serves the connection, in place of another one.
    pub(super) fn set_task(&self, task: AbortHandle) {
        *lock(&self.task) = Some(task);
        self.end_if_evicted();
    }

    /// Says which task serves the connection, unless that is known.
    pub(super) fn set_first_task(&self, task: AbortHandle) {
        lock(&self.task).get_or_insert(task);
        self.end_if_evicted();
    }

    /// The task may have been set after the connection was evicted.
    fn end_if_evicted(&self) {
        if self.idle_since.load(Ordering::SeqCst) == EVICTED {
            self.abort();
        }
    }

    fn abort(&self) {
        if let Some(task) = &*lock(&self.task) {
            task.abort();
        }
    }

    /// Closes the connection if it is idle since then and still is.
    fn evict(&self, since: u64) -> bool {
        let evicted = self.idle_since.compare_exchange(since, EVICTED, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        if evicted {
            metrics::EVICTED_CONNECTIONS.increment(1);
            self.abort();
        }
        evicted
    }

    fn begin_request(&self) -> bool {
        let since = self.idle_since.load(Ordering::Relaxed);
        let begun = since != EVICTED
            && self.idle_since.compare_exchange(since, HAS_REQUEST, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        if begun {
            self.had_request.store(true, Ordering::Relaxed);
        }
        begun
    }

    fn end_request(&self) {
        self.idle_since.store(self.connections.now(), Ordering::Relaxed);
    }

    /// Marks that a request has come. None if the connection is being closed.
    pub(super) fn request(self: &Arc<Self>) -> Option<RequestGuard> {
        self.begin_request().then(|| RequestGuard(Arc::clone(self)))
    }

    /// Whether the connection has had a request.
    pub(super) fn had_request(&self) -> bool {
        self.had_request.load(Ordering::Relaxed)
    }

    /// When the connection began, if it has had no request.
    pub(super) fn opened(&self) -> Instant {
        let since = self.idle_since.load(Ordering::Relaxed).saturating_sub(FIRST_TIME);
        self.connections.start + Duration::from_micros(since)
    }
}

impl Drop for OwnedPlace {
    fn drop(&mut self) {
        let connections = &self.0.connections;
        let _place = lock(&connections.open).try_remove(self.0.key);
        connections.ended.notify_one();
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done with a lock held can leave the value half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream with its place among the open connections.
pub(super) struct Tracked<S> {
    stream: S,
    place: OwnedPlace,
}

impl<S: Connection> Tracked<S> {
    pub(super) fn new(stream: S, place: OwnedPlace) -> Self {
        Self { stream, place }
    }

    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place.0
    }

    /// See [`Connection::into_current_runtime`].
    pub(super) fn into_current_runtime(self) -> io::Result<Self> {
        Ok(Self { stream: self.stream.into_current_runtime()?, place: self.place })
    }
}

impl<S: Transport> Transport for Tracked<S> {
    fn peer(&self) -> Option<std::net::SocketAddr> {
        self.stream.peer()
    }

    fn begin_request(&self) -> bool {
        self.place.0.begin_request()
    }

    fn end_request(&self) {
        self.place.0.end_request();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tracked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tracked<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
