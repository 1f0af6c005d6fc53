//! The SQL of votes.
//!
//! A batch locks the rows of its targets first. So the statement after it sees all votes on them, and the events of a thing are in
//! the order of its commits. A row that others keep locked is left out: the votes on it must not hold up those on others.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{
    batch::{Target, Vote},
    model::Votes,
};
use crate::{
    db::Write,
    error::Result,
    events::{Change, VoteValue},
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, UserId},
};

/// What became of a vote.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cast {
    /// It is written, or was so before.
    Done(Votes),
    /// Others keep the row locked.
    Locked,
    /// The thing is deleted.
    Deleted,
    /// The user may not write there any more, or their account has ended.
    NotAMember,
}

/// What became of each vote of a batch, and the events.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub cast: HashMap<(Target, UserId), Cast>,
    pub changes: Vec<Change>,
}

/// A thing that is voted on.
#[derive(Clone, Copy, Debug)]
struct Thing {
    target: Target,
    community_id: CommunityId,
    article_id: ArticleId,
    discussion_id: DiscussionId,
    is_deleted: bool,
    /// Whether this transaction has locked its row.
    is_locked: bool,
}

/// A vote that was counted, and the sums after the batch.
#[derive(Clone, Copy, Debug)]
struct Counted {
    target: Target,
    user_id: UserId,
    value: VoteValue,
    /// The user's vote before.
    before: VoteValue,
    /// Whether the batch has changed the sums.
    has_changed: bool,
    upvotes: i64,
    downvotes: i64,
    timestamp: DateTime<Utc>,
}

impl Thing {
    fn comment_id(&self) -> Option<CommentId> {
        match self.target {
            Target::Discussion(_) => None,
            Target::Comment(id) => Some(id),
        }
    }

    /// The event for the voter.
    fn own_change(&self, counted: &Counted) -> Change {
        Change::OwnVoteChanged {
            community_id: self.community_id,
            article_id: self.article_id,
            discussion_id: self.discussion_id,
            comment_id: self.comment_id(),
            user_id: counted.user_id,
            value: counted.value,
            timestamp: counted.timestamp,
        }
    }

    /// The event for everyone.
    fn change(&self, counted: &Counted) -> Change {
        Change::VotesChanged {
            community_id: self.community_id,
            article_id: self.article_id,
            discussion_id: self.discussion_id,
            comment_id: self.comment_id(),
            upvotes: counted.upvotes,
            downvotes: counted.downvotes,
            timestamp: counted.timestamp,
        }
    }
}

/// Votes as arrays, for a statement.
#[derive(Debug, Default)]
struct Columns {
    targets: Vec<i64>,
    communities: Vec<i64>,
    users: Vec<i64>,
    values: Vec<i16>,
}

impl Columns {
    fn push(&mut self, vote: &Vote, thing: &Thing) {
        self.targets.push(vote.target.id());
        self.communities.push(thing.community_id.get());
        self.users.push(vote.user_id.get());
        self.values.push(vote.value.into());
    }
}

impl Outcome {
    /// Notes what becomes of the votes if no statement counts them, and returns those to count.
    fn expect(&mut self, votes: &[Vote], things: &[Thing]) -> Columns {
        let things: HashMap<Target, &Thing> = things.iter().map(|thing| (thing.target, thing)).collect();
        let mut columns = Columns::default();
        for vote in votes {
            let cast = match things.get(&vote.target) {
                Some(thing) if thing.is_locked => {
                    columns.push(vote, thing);
                    Cast::NotAMember
                }
                Some(thing) if !thing.is_deleted => Cast::Locked,
                _ => Cast::Deleted,
            };
            self.cast.insert((vote.target, vote.user_id), cast);
        }
        columns
    }

    /// Takes the votes that were counted. The events of the voters come before those for everyone.
    fn add(&mut self, things: &[Thing], counted: &[Counted]) {
        let things: HashMap<Target, &Thing> = things.iter().map(|thing| (thing.target, thing)).collect();
        let mut sums: HashMap<Target, Change> = HashMap::new();
        for one in counted {
            let Counted { upvotes, downvotes, value: own_vote, timestamp, .. } = *one;
            let votes = Votes { upvotes, downvotes, own_vote, timestamp };
            self.cast.insert((one.target, one.user_id), Cast::Done(votes));
            let Some(thing) = things.get(&one.target) else { continue };
            self.changes.extend((one.value != one.before).then(|| thing.own_change(one)));
            if one.has_changed {
                sums.insert(one.target, thing.change(one));
            }
        }
        self.changes.extend(sums.into_values());
    }
}

/// Writes votes, of which each user has one on each thing at most.
pub(super) async fn cast(write: &mut Write, votes: &[Vote]) -> Result<Outcome> {
    let (on_discussions, on_comments): (Vec<Vote>, Vec<Vote>) =
        votes.iter().partition(|vote| matches!(vote.target, Target::Discussion(_)));
    let mut outcome = Outcome::default();
    // Discussions come first, as for everyone who locks rows of both.
    cast_on_discussions(write, &on_discussions, &mut outcome).await?;
    cast_on_comments(write, &on_comments, &mut outcome).await?;
    Ok(outcome)
}

/// Declares the function that writes the votes on one kind of things. `discussion` is the column with the thing's discussion, and
/// `thing` the column of the table `votes` with the thing.
macro_rules! votes_on {
    ($name:ident, $target:path, $things:literal, discussion: $discussion:literal, votes: $votes:literal, thing: $thing:literal) => {
        async fn $name(write: &mut Write, votes: &[Vote], outcome: &mut Outcome) -> Result<()> {
            if votes.is_empty() {
                return Ok(());
            }
            let ids: Vec<i64> = votes.iter().map(|vote| vote.target.id()).collect();
            let rows = sqlx::query!(
                "with locked as (
                     select id from " + $things + " where id = any($1) and deleted_at is null for no key update skip locked
                 )
                 select t.id, d.id as \"discussion_id: DiscussionId\", d.community_id as \"community_id: CommunityId\",
                        d.article_id as \"article_id: ArticleId\", t.deleted_at is not null as \"is_deleted!\",
                        locked.id is not null as \"is_locked!\"
                 from " + $things + " t join discussions d on d.id = t." + $discussion + " left join locked on locked.id = t.id
                 where t.id = any($1)",
                &ids
            )
            .fetch_all(&mut *write)
            .await?;
            let things = rows.into_iter().map(|row| Thing {
                target: $target(row.id.into()),
                community_id: row.community_id,
                article_id: row.article_id,
                discussion_id: row.discussion_id,
                is_deleted: row.is_deleted,
                is_locked: row.is_locked,
            });
            let things: Vec<Thing> = things.collect();
            let columns = outcome.expect(votes, &things);
            let rows = sqlx::query!(
                "with cast_votes as (
                     -- The handler has checked the access, and the vote may have waited since.
                     select c.target, c.user_id, c.value, coalesce(v.value, 0::smallint) as before
                     from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[]) as c (target, community_id, user_id, value)
                     join communities k on k.id = c.community_id
                     left join memberships m on m.user_id = c.user_id and m.community_id = c.community_id
                     join users u on u.id = c.user_id and u.is_active
                     left join " + $votes + " v on v." + $thing + " = c.target and v.user_id = c.user_id
                     where m.role is not null or k.kind = 'open'
                 ), removed as (
                     delete from " + $votes + " v using cast_votes c
                     where v." + $thing + " = c.target and v.user_id = c.user_id and c.value = 0
                 ), kept as (
                     insert into " + $votes + " (" + $thing + ", user_id, value)
                     select target, user_id, value from cast_votes where value not in (0, before)
                     on conflict (" + $thing + ", user_id) do update set value = excluded.value
                 ), changed as (
                     select target, count(*) filter (where value = 1) - count(*) filter (where before = 1) as up,
                            count(*) filter (where value = -1) - count(*) filter (where before = -1) as down
                     from cast_votes group by target
                 ), counted as (
                     update " + $things + " t set upvotes = t.upvotes + c.up, downvotes = t.downvotes + c.down
                     from changed c where t.id = c.target and (c.up <> 0 or c.down <> 0)
                     returning t.id, t.upvotes, t.downvotes
                 )
                 select c.target as \"target!\", c.user_id as \"user_id!: UserId\", c.value as \"value!: VoteValue\",
                        c.before as \"before!: VoteValue\", n.id is not null as \"has_changed!\",
                        coalesce(n.upvotes, t.upvotes) as \"upvotes!\", coalesce(n.downvotes, t.downvotes) as \"downvotes!\",
                        clock_timestamp() as \"timestamp!\"
                 from cast_votes c join " + $things + " t on t.id = c.target left join counted n on n.id = c.target",
                &columns.targets,
                &columns.communities,
                &columns.users,
                &columns.values
            )
            .fetch_all(write)
            .await?;
            let counted = rows.into_iter().map(|row| Counted {
                target: $target(row.target.into()),
                user_id: row.user_id,
                value: row.value,
                before: row.before,
                has_changed: row.has_changed,
                upvotes: row.upvotes,
                downvotes: row.downvotes,
                timestamp: row.timestamp,
            });
            outcome.add(&things, &counted.collect::<Vec<_>>());
            Ok(())
        }
    };
}

votes_on!(cast_on_discussions, Target::Discussion, "discussions", discussion: "id", votes: "discussion_votes", thing: "discussion_id");
votes_on!(cast_on_comments, Target::Comment, "comments", discussion: "discussion_id", votes: "comment_votes", thing: "comment_id");
