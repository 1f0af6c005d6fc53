//! What a poll does before the hub can answer it: wait for this node's feed, or read what this node does not know yet.
//!
//! A poll comes here after a GET at a faster node, after a leap, and when its queue was registered at another node.

use std::time::Duration;

use axum::body::Bytes;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    RealtimeState, body, follows,
    hub::LostEvents,
    memberships::{self, MembershipHistory},
    model::PollRequest,
    poll::{catchup, look},
    terms::QueueTerms,
};
use crate::{
    auth::Viewer,
    compression::{Coding, EncodedBody},
    directory,
    error::{ErrorCode, Result},
    events::{
        history::{self, Position},
        log,
    },
    ids::{CommunityId, EventId, QueueId},
};

/// How long a poll waits for the database.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(4);
/// A poll that does not want to wait still gives the feed this moment.
const FEED_MOMENT: Duration = Duration::from_millis(500);

/// How often one poll reads its user's memberships.
const MOST_READS: usize = 3;
/// How many batches of events one poll reads to see whether its queue wants any that the hub has no more. The hub loses events
/// meanwhile, but fewer each time.
const MOST_BATCHES: usize = 10;

/// What this node lacks to answer a poll.
#[derive(Debug)]
pub(super) enum Missing {
    /// The event of the cursor.
    Head,
    /// The memberships of the queue's user, since a leap.
    Memberships,
    /// The viewer's session, which was read before this node's events begin.
    Session,
    /// The queue.
    Queue,
    /// Whether the queue wants any of these events, which the hub has no more.
    Lost(Vec<LostEvents>),
}

/// Gets what is `missing`, and answers the poll then.
pub(super) async fn slow_path(
    state: &RealtimeState,
    mut viewer: Viewer,
    request: PollRequest,
    coding: Coding,
    deadline: Instant,
    mut missing: Missing,
) -> Result<EncodedBody> {
    let (mut is_loaded, mut is_read_again, mut times_read, mut batches_left) = (false, false, 0, MOST_BATCHES);
    loop {
        let early_answer = match missing {
            Missing::Head => wait_for_head(state, request.cursor, deadline).await?,
            // A burst of events came between the read and its use, each time. The client tries again.
            Missing::Memberships if times_read == MOST_READS => Some(body::empty(request.cursor)),
            Missing::Memberships => {
                times_read += 1;
                load_memberships(state, &viewer, request.cursor, deadline).await?
            }
            Missing::Session if is_read_again => return Err(ErrorCode::Unavailable.into()),
            Missing::Session => {
                viewer = state.auth.sessions.read_again(&viewer).await?;
                is_read_again = true;
                None
            }
            Missing::Queue if is_loaded => return Err(ErrorCode::QueueNotFound.into()),
            Missing::Queue => {
                load_from_registry(state, &viewer, request.queue).await?;
                is_loaded = true;
                None
            }
            Missing::Lost(events) => check_lost(state, &viewer, request.queue, events, &mut batches_left).await?,
        };
        if let Some(body) = early_answer {
            return Ok(EncodedBody::plain(body));
        }
        match look(state, &viewer, &request, coding, deadline) {
            Ok(future) => return future.answer().await,
            Err(still_missing) => missing = still_missing,
        }
    }
}

/// Waits until this node has come to the cursor. A GET reads the database, which is a moment ahead of this node's feed.
///
/// Returns None when the node is there. Otherwise returns the answer: a catch-up where the order has no such event, an empty
/// list where the feed takes too long.
async fn wait_for_head(state: &RealtimeState, cursor: EventId, deadline: Instant) -> Result<Option<Bytes>> {
    let position = timeout(DATABASE_TIMEOUT, history::position(&state.db)).await;
    let position = position.map_err(|_| ErrorCode::Unavailable)??;
    if !position.has(cursor) {
        return Ok(Some(catchup()));
    }
    Ok(wait_for_position(state, &Position { head: cursor, ..position }, cursor, deadline).await)
}

/// Waits until this node is at `position`. Returns an empty answer that leaves the cursor where it is if that takes too long
/// or this process ends.
async fn wait_for_position(
    state: &RealtimeState,
    position: &Position,
    cursor: EventId,
    deadline: Instant,
) -> Option<Bytes> {
    let deadline = deadline.max(Instant::now() + FEED_MOMENT);
    tokio::select! {
        reached = timeout_at(deadline, state.hub.wait_for_position(position)) => match reached {
            Ok(()) => None,
            Err(_) => Some(body::empty(cursor)),
        },
        () = state.shutdown.cancelled() => Some(body::empty(cursor)),
    }
}

/// Reads the memberships of a user whose queues are here, after a leap. Returns None when the hub can use them, and
/// otherwise an empty answer.
async fn load_memberships(
    state: &RealtimeState,
    viewer: &Viewer,
    cursor: EventId,
    deadline: Instant,
) -> Result<Option<Bytes>> {
    let registration = state.hub.begin_registration(viewer.user_id);
    let mut history = read_history(state, viewer, &QueueTerms::default()).await?;
    if state.hub.needs_follows(viewer.user_id) {
        let read = timeout(DATABASE_TIMEOUT, follows::read(&state.db, viewer.user_id, history.head)).await;
        history.follows = Some(read.map_err(|_| ErrorCode::Unavailable)??);
    }
    let leapt = Position { history: history.id.clone(), head: history.id.base };
    registration.update_memberships(&history);
    // A node that has yet to leap cannot use them. The next look asks again.
    Ok(wait_for_position(state, &leapt, cursor, deadline).await)
}

async fn read_history(state: &RealtimeState, viewer: &Viewer, terms: &QueueTerms) -> Result<MembershipHistory> {
    let history = timeout(DATABASE_TIMEOUT, memberships::read_for(&state.db, viewer.user_id, terms));
    history.await.map_err(|_| ErrorCode::Unavailable)?
}

/// Looks in the database whether the queue wants any of the events that the hub has no more. Returns None where it wants none, and
/// otherwise the answer, a catch-up. It is a catch-up too where the database has them no more, and where there are more than
/// `batches_left`.
async fn check_lost(
    state: &RealtimeState,
    viewer: &Viewer,
    queue: QueueId,
    lost: Vec<LostEvents>,
    batches_left: &mut usize,
) -> Result<Option<Bytes>> {
    let wanted = timeout(DATABASE_TIMEOUT, wants_any(state, viewer, queue, &lost, batches_left)).await;
    if wanted.unwrap_or(Ok(true))? {
        return Ok(Some(catchup()));
    }
    state.hub.note_unwanted(queue, lost);
    Ok(None)
}

async fn wants_any(
    state: &RealtimeState,
    viewer: &Viewer,
    queue: QueueId,
    lost: &[LostEvents],
    batches_left: &mut usize,
) -> Result<bool> {
    for LostEvents { community, mut after, through } in lost.iter().copied() {
        loop {
            if *batches_left == 0 {
                return Ok(true);
            }
            *batches_left -= 1;
            let found = log::subjects(&state.db, community, viewer.user_id, after, through).await?;
            let Some(found) = found else { return Ok(true) };
            let is_last = found.len() < log::BATCH as usize;
            after = found.last().map_or(through, |(last, _)| *last);
            let community = community.unwrap_or(CommunityId::NONE);
            let events: Vec<_> = found.iter().map(|(event_id, subject)| (*event_id, community, *subject)).collect();
            if state.hub.wants_any(queue, &events) {
                return Ok(true);
            }
            if is_last {
                break;
            }
        }
    }
    Ok(false)
}

/// Takes over a queue that was registered at another node. Does nothing where this user has no such queue. `token_invalid`
/// where the account is not in use: its queues are gone, and that is the reason.
pub(super) async fn load_from_registry(state: &RealtimeState, viewer: &Viewer, queue: QueueId) -> Result<()> {
    let found = state.registry.find(queue).await?.filter(|(record, _)| record.user_id == viewer.user_id);
    let Some((record, left)) = found else {
        let checked = timeout(DATABASE_TIMEOUT, directory::store::check_active(&state.db, viewer.user_id));
        return checked.await.map_err(|_| ErrorCode::Unavailable)?;
    };
    let registration = state.hub.begin_registration(viewer.user_id);
    let history = read_history(state, viewer, &record.terms).await?;
    let replaced = registration.create_queue(queue, record.terms, &history, left, Instant::now());
    if let Some(replaced) = replaced {
        state.registry.remove(replaced, viewer.user_id).await;
    }
    // A call may have changed what it watches between the read of the record and the making of the queue.
    if let Some((record, _)) = state.registry.find(queue).await? {
        state.hub.set_watch(queue, &record.terms.watch);
    }
    Ok(())
}
