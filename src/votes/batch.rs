//! Writes votes in batches, as a database writes commits in groups: while one batch is written, the next votes gather.
//!
//! So hundreds of votes a second on one comment lock its row a few times only, hold one connection of the pool, and make one
//! `votes_changed` for each batch. A single vote on a quiet node is written at once.

use std::{collections::HashMap, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use super::{
    model::Votes,
    store::{self, Cast, Outcome},
};
use crate::{
    db::Db,
    error::{ApiError, ErrorCode, Result},
    events::VoteValue,
    ids::{CommentId, DiscussionId, UserId},
};

/// How many votes may wait. More are refused until there is room.
const WAITING: usize = 1_024;
/// The most votes of one batch.
const BATCH: usize = 256;
/// The least time from one batch to the next. It bounds the events of a thing that many vote on.
const PACE: Duration = Duration::from_millis(20);
/// A vote on a thing whose row others keep locked waits this long.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a vote is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Discussion(DiscussionId),
    Comment(CommentId),
}

impl Target {
    /// The number of the discussion or comment.
    pub(super) fn id(self) -> i64 {
        match self {
            Self::Discussion(id) => id.get(),
            Self::Comment(id) => id.get(),
        }
    }
}

/// A vote whose user may vote on the target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vote {
    pub target: Target,
    pub user_id: UserId,
    pub value: VoteValue,
}

/// Where votes are written. It is cheap to clone.
#[derive(Clone, Debug)]
pub struct VoteWriter {
    /// For the access to what is voted on.
    pub(super) db: Db,
    sender: mpsc::Sender<Waiting>,
    /// Counts the votes that have no answer yet.
    waiting: TaskTracker,
}

/// A vote that is not written yet.
#[derive(Debug)]
struct Waiting {
    vote: Vote,
    since: Instant,
    answer: oneshot::Sender<Result<Votes>>,
    _counted: TaskTrackerToken,
}

impl VoteWriter {
    /// A writer on `db`, whose batches run on `runtime`. It ends with its last clone.
    pub fn new(db: Db, runtime: &Handle) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        runtime.spawn(write_all(db.clone(), receiver));
        Self { db, sender, waiting: TaskTracker::new() }
    }

    /// How many votes have no answer yet.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Writes a vote, and returns the votes on its target. 403 if the user is no member any more, 409 if the target is deleted, 503 if
    /// the database does not answer in time.
    pub(crate) async fn write(&self, vote: Vote) -> Result<Votes> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { vote, since: Instant::now(), answer, _counted: self.waiting.token() };
        self.sender.try_send(waiting).map_err(|_| ErrorCode::Unavailable)?;
        answered.await.map_err(|_| ApiError::internal("a batch of votes was given up"))?
    }
}

/// Writes batches until all [`VoteWriter`]s are gone.
async fn write_all(db: Db, mut receiver: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::new();
    loop {
        if batch.is_empty() && receiver.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        while batch.len() < BATCH {
            let Ok(waiting) = receiver.try_recv() else { break };
            batch.push(waiting);
        }
        let next = Instant::now() + PACE;
        // In a task of its own, so that a panic ends one batch and not all votes of this node.
        batch = tokio::spawn(write_batch(db.clone(), batch)).await.unwrap_or_default();
        sleep_until(next).await;
    }
}

/// Writes a batch in one transaction and answers. Returns the votes that are to be tried again.
async fn write_batch(db: Db, batch: Vec<Waiting>) -> Vec<Waiting> {
    // The last vote of a user on a thing counts.
    let newest: HashMap<(Target, UserId), VoteValue> =
        batch.iter().map(|waiting| ((waiting.vote.target, waiting.vote.user_id), waiting.vote.value)).collect();
    let votes: Vec<Vote> =
        newest.into_iter().map(|((target, user_id), value)| Vote { target, user_id, value }).collect();
    let cast = match write_votes(&db, &votes).await {
        Ok(cast) => cast,
        Err(error) => {
            let code = error.code();
            for waiting in batch {
                // Whoever is gone needs no answer.
                let _ = waiting.answer.send(Err(code.into()));
            }
            return Vec::new();
        }
    };
    let mut again = Vec::new();
    for waiting in batch {
        let Vote { target, user_id, .. } = waiting.vote;
        let answer = match cast.get(&(target, user_id)) {
            Some(Cast::Done(votes)) => Ok(*votes),
            Some(Cast::Locked) if waiting.since.elapsed() < PATIENCE => {
                again.push(waiting);
                continue;
            }
            Some(Cast::Locked) => Err(ErrorCode::Unavailable.into()),
            Some(Cast::NotAMember) => Err(ErrorCode::NotAMember.into()),
            Some(Cast::Deleted) | None => Err(match target {
                Target::Discussion(_) => ErrorCode::DiscussionDeleted.into(),
                Target::Comment(_) => ErrorCode::CommentDeleted.into(),
            }),
        };
        let _ = waiting.answer.send(answer);
    }
    again
}

/// Writes the votes with their events (I1). `votes` has one vote for each user and target at most.
async fn write_votes(db: &Db, votes: &[Vote]) -> Result<HashMap<(Target, UserId), Cast>> {
    let mut write = db.write();
    let Outcome { cast, changes } = store::cast(&mut write, votes).await?;
    write.emit_all(&changes).await?;
    write.commit().await?;
    Ok(cast)
}
