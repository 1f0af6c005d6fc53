//! Measures many polls parked in one process, over connections in memory. `cargo bench --bench connections` prints a table.
//!
//! It covers all of a poll except the kernel: the server reads the bytes of a request, checks its token and parks it in the hub.
//! When an event comes, the server builds and writes the answer, and the client polls again. The number of sockets is limited
//! by the limit of open files (20,000 on a common machine). This benchmark shows that the server itself has no such limit. Every
//! client checks that it gets each event once.
//!
//! Memory is the growth of the process from before the server has the connections. The buffers of both ends and the clients
//! exist by then. One thread runs the server and the clients, and the times include both.

#[path = "hub/measure.rs"]
#[expect(dead_code, reason = "some of it is for the hub's benchmark")]
mod measure;

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use discussions::{
    auth::{
        self, AuthState,
        jwt::{self, Verifier},
        session::Sessions,
    },
    config::Config,
    db::Db,
    directory::Scope,
    events::{Audience, Content, SequencedEvent, Subject},
    ids::{CommunityId, EventId, QueueId},
    realtime::{
        self, RealtimeState,
        hub::{Hub, Limits},
        memberships::MembershipHistory as History,
        registry::Registry,
    },
    router,
    serve::{ConnectionLimits, FastPath, Server},
    state::{AppState, Shared},
    votes::batch::VoteWriter,
};
use measure::{median, resident_bytes};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    runtime::{Builder, Handle},
    sync::Notify,
    task::LocalSet,
};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Room for a request and for an answer.
const BUFFER: usize = 2_048;
const SECRET: &str = "a secret of the benchmark, long enough";
/// The community of all users.
const COMMUNITY: CommunityId = CommunityId::new(1);
const TTL: Duration = Duration::from_secs(3_600);

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    config: Config,
}

fn main() {
    println!("\nPolls parked over connections in memory: one event to all, each polls again");
    for count in [100, 1_000, 3_000, 10_000, 30_000, 100_000] {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let local = LocalSet::new();
        local.block_on(&runtime, measure(count));
    }
}

/// The application without a database. All events are in the hub.
fn application() -> AppState {
    let arguments = ["bench", "--database-url", "postgres://127.0.0.1:1/none", "--jwt-secret", SECRET];
    let config = Cli::parse_from(arguments).config;
    let limits = Limits { community_events: 1_000, total_events: 100_000, total_bytes: 1 << 28, queue_ttl: TTL };
    let db = Db::new(&config).expect("an address");
    let shutdown = CancellationToken::new();
    let verifier = Verifier::new(&config.jwt).expect("a secret");
    let auth = AuthState::new(auth::Shared {
        sessions: Sessions::new(db.clone(), &verifier, &config),
        verifier,
        allowed_origins: Vec::new(),
        db: db.clone(),
    });
    let realtime = RealtimeState::new(realtime::Shared {
        auth: auth.clone(),
        db: db.clone(),
        hub: Arc::new(Hub::new(limits, EventId::START, [])),
        registry: Arc::new(Registry::local()),
        poll_timeout: Duration::from_secs(config.poll_timeout_seconds),
        shutdown: shutdown.clone(),
    });
    let votes = VoteWriter::new(db.clone(), &Handle::current());
    AppState::new(Shared { auth, realtime, votes, writes: Default::default(), shutdown, db, config })
}

fn register(state: &AppState, user: i64) -> QueueId {
    let queue = QueueId::random();
    let history = History { head: state.realtime.hub.head(), communities: [COMMUNITY].into(), ..History::default() };
    let now = tokio::time::Instant::now();
    state.realtime.hub.begin_registration(user.into()).create_queue(queue, Scope::default(), &history, TTL, now);
    queue
}

fn append(state: &AppState) {
    let event_id = state.realtime.hub.head().next();
    let text = "Some words of a comment. ".repeat(18);
    let json = bytes::Bytes::from(format!(r#"{{"event_id":{event_id},"type":"new_comment","text":"{text}"}}"#));
    let written_at = chrono::Utc::now();
    let event = SequencedEvent {
        event_id,
        community_id: COMMUNITY,
        audience: Audience::Community,
        subject: Subject::default(),
        writer: None,
        content: Content::of(&json),
        json,
        written_at,
    };
    assert!(state.realtime.hub.append(&event).is_some(), "it is the next event");
}

/// The number of clients that have the event of the round.
struct Round {
    count: u32,
    arrived: Cell<u32>,
    all: Notify,
}

async fn measure(count: u32) {
    let state = application();
    let shutdown = CancellationToken::new();
    let router = router::router(&state);
    let fast_path = FastPath::new(state.clone(), router.clone()).await;
    let limits = ConnectionLimits::new(&state.config, u64::MAX);
    let server = Server::new(router, shutdown, Some(fast_path), Handle::current(), limits);
    let round = Rc::new(Round { count, arrived: Cell::new(0), all: Notify::new() });
    let begin = Rc::new(Notify::new());
    let mut ends = Vec::new();
    for user in 1..=i64::from(count) {
        let (mut here, mut there) = duplex(BUFFER);
        // Use both buffers once, so that their pages do not count as the server's memory.
        let mut filled = [b'x'; BUFFER];
        here.write_all(&filled).await.expect("memory");
        there.read_exact(&mut filled).await.expect("memory");
        there.write_all(&filled).await.expect("memory");
        here.read_exact(&mut filled).await.expect("memory");
        let token = jwt::mint(SECRET, user.into(), None, 3_600).expect("a secret");
        let queue = register(&state, user);
        tokio::task::spawn_local(client(here, token, queue, Rc::clone(&round), Rc::clone(&begin)));
        ends.push(there);
    }
    tokio::task::yield_now().await;
    let before = resident_bytes();
    ends.into_iter().for_each(|end| server.serve(end));
    begin.notify_waiters();
    let all_parked = async || {
        // Counting looks at each queue, so do it rarely, to keep it out of the measurement.
        while state.realtime.hub.stats().parked < count as usize {
            for _ in 0..=count / 32 {
                tokio::task::yield_now().await;
            }
        }
    };
    all_parked().await;
    let parked = (resident_bytes() - before) / f64::from(count);
    let mut times = Vec::new();
    for _ in 0..9 {
        round.arrived.set(0);
        let start = Instant::now();
        append(&state);
        round.all.notified().await;
        all_parked().await;
        times.push(start.elapsed().as_secs_f64());
    }
    let after = (resident_bytes() - before) / f64::from(count);
    let each = median(times.into_iter()) / f64::from(count) * 1e9;
    println!("{count:>8} polls {each:>8.0} ns a delivery {parked:>8.0} bytes a poll {after:>8.0} after the rounds");
}

async fn client(mut stream: DuplexStream, token: String, queue: QueueId, round: Rc<Round>, begin: Rc<Notify>) {
    begin.notified().await;
    let mut cursor = EventId::START;
    let mut answer = [0; BUFFER];
    loop {
        let request = format!(
            "GET /poll?queue_id={queue}&last_event_id={cursor} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("memory");
        let mut length = 0;
        // An answer ends with the brace after its last_event_id.
        while length == 0 || answer[length - 1] != b'}' {
            length += stream.read(&mut answer[length..]).await.expect("memory");
        }
        let text = std::str::from_utf8(&answer[..length]).expect("JSON");
        let expected = format!("\"event_id\":{}", cursor.next());
        assert_eq!(text.matches("{\"event_id\":").count(), 1, "one event and no more: {text}");
        assert!(text.contains(&expected), "the next event: {text}");
        cursor = cursor.next();
        round.arrived.set(round.arrived.get() + 1);
        if round.arrived.get() == round.count {
            round.all.notify_one();
        }
    }
}
