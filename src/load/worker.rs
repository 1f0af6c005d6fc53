//! A thread of readers and writers, each a task. They share buffers and counts without locks.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    sync::Semaphore,
    task::{JoinSet, LocalSet},
    time::sleep,
};

use super::{
    board::Board,
    http::{self, Buffer, Connection},
    plan::Plan,
    reader::Reader,
    seen::Seen,
    tally::Tally,
    writer,
};

/// Connections that a thread opens and registers at a time.
const TURNS: usize = 32;
/// Every queue gets a heartbeat within this time.
const HEARTBEATS: Duration = Duration::from_secs(50);

/// What the tasks of a thread share.
pub struct Worker {
    /// Who is who.
    pub plan: Arc<Plan>,
    /// What the threads tell each other.
    pub board: Arc<Board>,
    /// What answers are read into.
    pub buffer: Buffer,
    /// What was seen.
    pub tally: RefCell<Tally>,
    /// Taken by those who connect.
    pub turns: Semaphore,
    /// The head of requests and the queue of each reader, for heartbeats.
    pub queues: RefCell<HashMap<u32, (String, String)>>,
}

impl Worker {
    /// A worker that has seen nothing.
    pub fn new(plan: &Arc<Plan>, board: &Arc<Board>) -> Self {
        Self {
            plan: Arc::clone(plan),
            board: Arc::clone(board),
            buffer: Buffer::default(),
            tally: RefCell::default(),
            turns: Semaphore::new(TURNS),
            queues: RefCell::default(),
        }
    }

    /// Notes a failed request.
    pub fn fail(&self, what: &str) {
        self.board.error();
        self.tally.borrow_mut().error(what.to_owned());
    }
}

/// As many threads as are worth having: one for each core, four at the most.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(4))
}

/// Threads under way.
pub struct Threads(Vec<JoinHandle<anyhow::Result<Tally>>>);

impl Threads {
    /// Waits for the end of all, and adds up what they have seen.
    pub fn join(self) -> anyhow::Result<Tally> {
        let mut sum = Tally::default();
        for thread in self.0 {
            sum.add(thread.join().map_err(|_| anyhow::anyhow!("a thread panicked; see above"))??);
        }
        Ok(sum)
    }
}

/// Starts the threads with their readers and writers.
pub fn start(plan: &Arc<Plan>, board: &Arc<Board>) -> anyhow::Result<Threads> {
    let count = threads();
    let threads = (0..count).map(|number| {
        let (plan, board) = (Arc::clone(plan), Arc::clone(board));
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            LocalSet::new().block_on(&runtime, work(&plan, &board, number, count))
        };
        thread::Builder::new().name(format!("load-{number}")).spawn(run).context("cannot start a thread")
    });
    Ok(Threads(threads.collect::<anyhow::Result<_>>()?))
}

/// The tasks of thread `number` of `count`, to their end.
async fn work(plan: &Arc<Plan>, board: &Arc<Board>, number: usize, count: usize) -> anyhow::Result<Tally> {
    let worker = Rc::new(Worker::new(plan, board));
    let mut readers = JoinSet::new();
    for index in (number as u32..plan.args.queues).step_by(count) {
        readers.spawn_local(Reader::new(&worker, index)?.run(Rc::clone(&worker)));
    }
    let mut others = JoinSet::new();
    for index in (number as u32..plan.args.writers).step_by(count) {
        others.spawn_local(writer::run(Rc::clone(&worker), index));
    }
    others.spawn_local(heartbeats(Rc::clone(&worker)));
    let readers = readers.join_all().await;
    others.join_all().await;

    let written: Vec<Seen> = (0..plan.args.communities).map(|community| board.all_written(community)).collect();
    let mut tally = worker.tally.take();
    tally.missed = readers.iter().map(|reader| reader.missed(&written)).sum();
    Ok(tally)
}

/// Sends each queue of the thread its heartbeats, as its user's page would.
async fn heartbeats(worker: Rc<Worker>) {
    let stopped = worker.board.stopped.clone();
    let beating = async {
        loop {
            sleep(HEARTBEATS / 2).await;
            if let Err(error) = beat_all(&worker).await {
                worker.fail(&format!("heartbeat: {error:#}"));
            }
        }
    };
    tokio::select! {
        () = beating => {}
        () = stopped.cancelled() => {}
    }
}

async fn beat_all(worker: &Worker) -> anyhow::Result<()> {
    let queues: Vec<(u32, (String, String))> =
        worker.queues.borrow().iter().map(|(index, queue)| (*index, queue.clone())).collect();
    let pause = HEARTBEATS / 2 / (queues.len() as u32 + 1);
    let mut connections: HashMap<u32, Connection> = HashMap::new();
    for (index, (head, queue)) in queues {
        let node = index % worker.plan.args.urls.len() as u32;
        if connections.get(&node).is_none_or(|connection| connection.is_over) {
            connections.insert(node, Connection::open(worker.plan.target(index), worker.plan.source(index)).await?);
        }
        let Some(connection) = connections.get_mut(&node) else { continue };
        let request = http::post("/heartbeat", &head, &format!(r#"{{"queue_id":"{queue}"}}"#));
        // A queue that is gone is its reader's to notice.
        connection.ask(&worker.buffer, &request, |_| ()).await?;
        sleep(pause).await;
    }
    Ok(())
}
