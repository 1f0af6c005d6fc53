//! A thread with tasks for readers and writers. The tasks share buffers and counts without locks.

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

use crate::{
    http::{self, Buffer, Connection},
    reader::Reader,
    run_state::RunState,
    scenario::Scenario,
    tally::Tally,
    writer,
};

/// How many connections a thread opens and registers at a time.
const PERMITS: usize = 32;
/// Every queue gets a heartbeat within this time.
const HEARTBEATS: Duration = Duration::from_secs(50);

/// The state that the tasks of a thread share.
pub(crate) struct Worker {
    pub(crate) scenario: Arc<Scenario>,
    /// The state that all threads share.
    pub(crate) state: Arc<RunState>,
    /// The buffer into which answers are read.
    pub(crate) buffer: Buffer,
    pub(crate) tally: RefCell<Tally>,
    /// A reader holds a permit while it connects and registers.
    pub(crate) permits: Semaphore,
    /// For heartbeats, by reader: the head of its requests, and its queue.
    pub(crate) queues: RefCell<HashMap<u32, (String, String)>>,
}

impl Worker {
    pub(crate) fn new(scenario: &Arc<Scenario>, state: &Arc<RunState>) -> Self {
        Self {
            scenario: Arc::clone(scenario),
            state: Arc::clone(state),
            buffer: Buffer::default(),
            tally: RefCell::default(),
            permits: Semaphore::new(PERMITS),
            queues: RefCell::default(),
        }
    }

    /// Counts a failed request.
    pub(crate) fn fail(&self, what: &str) {
        self.state.record_error();
        self.tally.borrow_mut().error(what.to_owned());
    }
}

/// The number of threads of a run: one for each core, four at most.
pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(4))
}

/// The threads of a run.
pub(crate) struct Threads(Vec<JoinHandle<anyhow::Result<Tally>>>);

impl Threads {
    /// Waits until all threads end, and adds up their counts.
    pub(crate) fn join(self) -> anyhow::Result<Tally> {
        let mut sum = Tally::default();
        for thread in self.0 {
            sum.add(thread.join().map_err(|_| anyhow::anyhow!("a thread panicked; see above"))??);
        }
        Ok(sum)
    }
}

/// Starts the threads with their readers and writers.
pub(crate) fn start(scenario: &Arc<Scenario>, state: &Arc<RunState>) -> anyhow::Result<Threads> {
    let count = threads();
    let threads = (0..count).map(|number| {
        let (scenario, state) = (Arc::clone(scenario), Arc::clone(state));
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            LocalSet::new().block_on(&runtime, work(&scenario, &state, number, count))
        };
        thread::Builder::new().name(format!("load-{number}")).spawn(run).context("cannot start a thread")
    });
    Ok(Threads(threads.collect::<anyhow::Result<_>>()?))
}

/// Runs the tasks of thread `number` of `count` to their end.
async fn work(scenario: &Arc<Scenario>, state: &Arc<RunState>, number: usize, count: usize) -> anyhow::Result<Tally> {
    let worker = Rc::new(Worker::new(scenario, state));
    let mut readers = JoinSet::new();
    for index in (number as u32..scenario.args.queues).step_by(count) {
        readers.spawn_local(Reader::new(&worker, index)?.run(Rc::clone(&worker)));
    }
    let mut others = JoinSet::new();
    for index in (number as u32..scenario.args.writers).step_by(count) {
        others.spawn_local(writer::run(Rc::clone(&worker), index));
    }
    others.spawn_local(heartbeats(Rc::clone(&worker)));
    let readers = readers.join_all().await;
    others.join_all().await;

    let written = state.written();
    let mut tally = worker.tally.take();
    tally.missed = readers.iter().map(|reader| reader.missed(&written)).sum();
    Ok(tally)
}

/// Sends heartbeats for each queue of the thread, as its user's page would.
async fn heartbeats(worker: Rc<Worker>) {
    let stopped = worker.state.stopped.clone();
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
        let node = index % worker.scenario.args.urls.len() as u32;
        if connections.get(&node).is_none_or(|connection| connection.is_over) {
            connections
                .insert(node, Connection::open(worker.scenario.target(index), worker.scenario.source(index)).await?);
        }
        let Some(connection) = connections.get_mut(&node) else { continue };
        let request = http::post("/heartbeat", &head, &format!(r#"{{"queue_id":"{queue}"}}"#));
        // Ignore a 404: the reader notices by itself that its queue is gone.
        connection.ask(&worker.buffer, &request, |_| ()).await?;
        sleep(pause).await;
    }
    Ok(())
}
