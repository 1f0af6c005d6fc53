//! The SQL of notifications.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::model::{Notification, NotificationPage, ReadNotifications};
use crate::{
    auth::Viewer,
    authors::{Author, Identity},
    db::{Write, composite},
    error::{ErrorCode, Result},
    events::{Change, NotificationKind, NotificationsRead},
    ids::{ArticleId, CommentId, CommunityId, DiscussionId, EventId, NotificationId, UserId},
};

/// The most ids of an event.
const MAX_IDS_IN_EVENT: usize = 100;

/// Like [`sqlx::query!`], for a statement that notifies people and tells their tabs. The parts that do so come between the two parts of
/// the statement, the first of which has named
///
/// * `cause`, one row with the place, the `comment_id` (null for a discussion), the `author_id` of whoever caused it and the time. If
///   it reads from what has written the cause's own event, the events of the notifications come after that.
/// * `recipients`, with `user_id` and `kind`. Of a person's kinds, the first in the order of the enum counts.
///
/// It leaves out who caused it, who is no member, whose account is not active, who has muted the discussion, and who has a notification
/// of the text already. Where there are pseudonyms it writes a row of nobody for them, and all ids are in an order by chance, so that
/// nothing tells who was left out (migration 0023). A recipient's row is held until the commit, so that an account that is deleted at
/// this moment is left out and is no error.
macro_rules! query_notifying {
    ($before:literal, $after:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query!(
            $before + r#", addressed as materialized (
               select r.user_id, r.kind, nextval(pg_get_serial_sequence('notifications', 'id')) as id
               from (select user_id, kind from recipients where user_id is not null order by random()) r
           ), notifiable as (
               select a.id, u.id as user_id
               from cause c
               cross join (
                   select distinct on (user_id) id, user_id, kind from addressed
                   order by user_id, array_position(array['mention', 'reply', 'comment', 'discussion', 'moderation'], kind)
               ) a
               -- `offset 0` makes PostgreSQL look for the one membership, and for the one notification below. It does not know how few people
               -- are addressed, and would read all members of the community.
               cross join lateral (
                   select from memberships m where m.user_id = a.user_id and m.community_id = c.community_id offset 0) member
               join users u on u.id = a.user_id and u.is_active
               cross join lateral said_about(a.user_id, c.discussion_id, c.community_id, c.article_id) said
               where a.user_id <> c.author_id and said.level is distinct from 'mute'
                 and not exists (
                     select from notifications n
                     where n.discussion_id = c.discussion_id and coalesce(n.comment_id, 0) = coalesce(c.comment_id, 0)
                       and n.user_id = a.user_id and (n.kind = 'moderation') = (a.kind = 'moderation')
                     offset 0)
               for key share of u
           ), notified as (
               insert into notifications (id, user_id, kind, community_id, article_id, discussion_id, comment_id, is_read, created_at)
               overriding system value
               select a.id, t.user_id, a.kind, c.community_id, c.article_id, c.discussion_id, c.comment_id, t.user_id is null, c.created_at
               from cause c
               cross join addressed a
               left join notifiable t on t.id = a.id
               where t.user_id is not null
                  or exists (select from pseudonyms where community_id = c.community_id and article_id = c.article_id)
               returning id, user_id, kind, community_id, article_id, discussion_id, comment_id, created_at
           ), told as (
               insert into outbox (community_id, user_id, type, payload)
               select case when n.user_id is null then 0 else n.community_id end, n.user_id,
                      case when n.user_id is null then 'nothing' else 'new_notification' end,
                      case when n.user_id is null then json_build_object('type', 'nothing') else json_build_object(
                          'type', 'new_notification', 'user_id', n.user_id, 'notification_id', n.id, 'kind', n.kind,
                          'community_id', n.community_id, 'article_id', n.article_id, 'discussion_id', n.discussion_id,
                          'comment_id', n.comment_id,
                          'timestamp', to_char(n.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) end
               from notified n
               order by n.id
           )"# + $after
            $(, $argument)*
        )
    };
}
pub(crate) use query_notifying;

/// What people are notified of.
pub(crate) struct Cause {
    pub community_id: CommunityId,
    pub article_id: ArticleId,
    pub discussion_id: DiscussionId,
    /// None for the discussion's own text.
    pub comment_id: Option<CommentId>,
    /// Whose doing it is.
    pub author_id: UserId,
}

/// Notifies these users. Those who have a notification of the text already get no second one. If an edit mentions them, and they have read
/// theirs, they get a new one in its place.
pub(crate) async fn notify(write: &mut Write, cause: &Cause, kind: NotificationKind, users: &[UserId]) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    if kind == NotificationKind::Mention {
        // The old row stays, without a user. So an edit makes as many rows and events as it would for somebody else (migration 0023).
        sqlx::query!(
            "update notifications n set user_id = null
             where n.discussion_id = $1 and coalesce(n.comment_id, 0) = coalesce($2::bigint, 0) and n.kind <> 'moderation'
               and n.user_id = any($3) and n.is_read
               and (select said.level from said_about(n.user_id, n.discussion_id, n.community_id, n.article_id) said)
                   is distinct from 'mute'
               and exists (select from memberships m where m.user_id = n.user_id and m.community_id = n.community_id)
               and exists (select from users u where u.id = n.user_id and u.is_active)",
            cause.discussion_id as _,
            cause.comment_id as _,
            users as _
        )
        .execute(&mut *write)
        .await?;
    }
    query_notifying!(
        "with cause as (
               select $1::bigint as community_id, $2::bigint as article_id, $3::bigint as discussion_id, $4::bigint as comment_id,
                      $5::bigint as author_id, clock_timestamp() as created_at
           ), recipients as (
               select unnest($6::bigint[]) as user_id, $7::text as kind
           )",
        " select from notified",
        cause.community_id as _,
        cause.article_id as _,
        cause.discussion_id as _,
        cause.comment_id as _,
        cause.author_id as _,
        users as _,
        kind as _
    )
    .execute(write)
    .await?;
    Ok(())
}

/// Notifies those whom a new discussion concerns: those whom it mentions, the article's submitter and the community's admins.
pub(crate) async fn notify_of_discussion(write: &mut Write, cause: &Cause, mentioned: &[UserId]) -> Result<()> {
    query_notifying!(
        "with cause as (
               select $1::bigint as community_id, $2::bigint as article_id, $3::bigint as discussion_id, null::bigint as comment_id,
                      $4::bigint as author_id, clock_timestamp() as created_at
           ), recipients as (
               select unnest($5::bigint[]) as user_id, 'mention' as kind
               union all
               select submitter_id, 'discussion' from articles where id = $2
               union all
               select user_id, 'discussion' from memberships where community_id = $1 and role = 'admin'
           )",
        " select from notified",
        cause.community_id as _,
        cause.article_id as _,
        cause.discussion_id as _,
        cause.author_id as _,
        mentioned as _
    )
    .execute(write)
    .await?;
    Ok(())
}

composite! {
    /// A notification `n`. Its discussion is `d`, its comment `k`, and the user who wrote the text `u`, with the pseudonym `p` if they
    /// wrote under one.
    struct NotificationRow in query_notifications! {
        id: NotificationId = "n.id",
        kind: NotificationKind = "n.kind",
        community_id: CommunityId = "n.community_id",
        article_id: ArticleId = "n.article_id",
        discussion_id: DiscussionId = "n.discussion_id",
        comment_id: Option<CommentId> = "n.comment_id",
        topic: Option<String> = "case when d.deleted_at is null then d.topic end",
        excerpt: Option<String> = "case when n.kind <> 'moderation' then left(case when n.comment_id is null then d.text else k.text end, 200) end",
        actor: Option<Identity> = "case when n.kind <> 'moderation' then row(u.id, u.username, u.avatar_url, case when p.id is not null then row(p.name, p.avatar_url) end) end",
        reason: Option<String> = "n.reason",
        is_read: bool = "n.is_read",
        created_at: DateTime<Utc> = "n.created_at",
    }
}

/// Reads a page of the viewer's notifications in their communities, newest first, and how many are unread. It is one statement, so the
/// answer and the head are of one snapshot (I4).
pub(super) async fn page(
    db: impl PgExecutor<'_>,
    viewer: &Viewer,
    only_unread: bool,
    before: Option<NotificationId>,
    limit: i64,
) -> Result<NotificationPage> {
    let found = query_notifications!(
        r#"with mine as (
               select community_id from memberships where user_id = $1 and ($2::bigint[] is null or community_id = any($2))
           )
           select (select last_assigned from event_head) as "head!: EventId", v.is_active,
                  (select count(*) from notifications
                   where user_id = $1 and not is_read and community_id in (select community_id from mine)) as "unread_count!",
                  array(select "#,
        r#"
                        from (
                            -- Each has an index. With one condition for both, PostgreSQL could not use that of the unread ones.
                            (select id, kind, community_id, article_id, discussion_id, comment_id, reason, is_read, created_at
                             from notifications
                             where not $3 and user_id = $1 and id < coalesce($4, 9223372036854775807)
                               and community_id in (select community_id from mine)
                             order by id desc limit $5::bigint + 1)
                            union all
                            (select id, kind, community_id, article_id, discussion_id, comment_id, reason, is_read, created_at
                             from notifications
                             where $3 and user_id = $1 and not is_read and id < coalesce($4, 9223372036854775807)
                               and community_id in (select community_id from mine)
                             order by id desc limit $5::bigint + 1)
                        ) n
                        join discussions d on d.id = n.discussion_id
                        left join comments k on k.id = n.comment_id
                        join users u on u.id = case when n.comment_id is null then d.author_id else k.author_id end
                        left join pseudonyms p on p.id = case when n.comment_id is null then d.pseudonym_id else k.pseudonym_id end
                        order by n.id desc) as "page!: Vec<NotificationRow>"
           from users v where v.id = $1"#,
        viewer.user_id as _,
        viewer.scope.as_sql() as _,
        only_unread,
        before as _,
        limit
    )
    .fetch_optional(db)
    .await?
    .filter(|found| found.is_active)
    .ok_or(ErrorCode::TokenInvalid)?;
    let has_more = found.page.len() as i64 > limit;
    let notifications: Vec<_> = found.page.into_iter().take(limit as usize).map(Notification::from).collect();
    Ok(NotificationPage {
        next_cursor: notifications.last().filter(|_| has_more).map(|last| last.id.to_string()),
        notifications,
        unread_count: found.unread_count,
        last_event_id: found.head,
    })
}

/// Marks notifications in the viewer's communities as read. Returns the events for their tabs: none if nothing has changed.
pub(super) async fn mark_read(write: &mut Write, viewer: &Viewer, marks: &ReadNotifications) -> Result<Vec<Change>> {
    let rows = sqlx::query!(
        r#"with marked as (
               select n.id
               from notifications n
               join memberships m on m.user_id = n.user_id and m.community_id = n.community_id
               where n.user_id = $1 and ($2::bigint[] is null or n.community_id = any($2))
                 and not n.is_read and (n.id = any($3) or n.id <= $4)
               -- Everyone locks them in this order, so no two tabs wait for each other.
               order by n.id
               for no key update of n
           )
           update notifications n set is_read = true from marked where n.id = marked.id
           returning n.id as "id: NotificationId", n.community_id as "community_id: CommunityId", clock_timestamp() as "timestamp!""#,
        viewer.user_id as _,
        viewer.scope.as_sql() as _,
        &marks.ids as _,
        marks.up_to_id as _
    )
    .fetch_all(write)
    .await?;
    let mut communities: BTreeMap<CommunityId, (Vec<NotificationId>, DateTime<Utc>)> = BTreeMap::new();
    for row in rows {
        communities.entry(row.community_id).or_insert((Vec::new(), row.timestamp)).0.push(row.id);
    }
    let changes = communities.into_iter().map(|(community_id, (mut ids, timestamp))| {
        ids.sort_unstable();
        let ids = (ids.len() <= MAX_IDS_IN_EVENT).then_some(ids);
        Change::NotificationsRead(NotificationsRead { user_id: viewer.user_id, community_id, ids, timestamp })
    });
    Ok(changes.collect())
}

/// Texts that a member has read.
pub(crate) enum ReadTexts<'a> {
    /// Of a discussion.
    Of {
        /// The discussion.
        discussion: DiscussionId,
        /// Whether it is its own text.
        own: bool,
        /// These comments.
        comments: &'a [CommentId],
        /// All comments up to this one.
        up_to: Option<CommentId>,
    },
    /// All on an article of a community.
    On(CommunityId, ArticleId),
}

/// Marks as read what the member was notified of about these texts, as far as the rows of `read_states` say that they are read. The marks
/// of this transaction are in them, so a text that was committed after those stays unread here too. Returns the events for their tabs:
/// none if nothing has changed.
pub(crate) async fn mark_read_texts(write: &mut Write, member: UserId, texts: &ReadTexts<'_>) -> Result<Vec<Change>> {
    let (discussion, own, comments, up_to, place) = match *texts {
        ReadTexts::Of { discussion, own, comments, up_to } => (Some(discussion), own, comments, up_to, None),
        ReadTexts::On(community, article) => (None, true, &[][..], Some(i64::MAX.into()), Some((community, article))),
    };
    let rows = sqlx::query!(
        r#"with marked as (
               select n.id
               from notifications n
               join memberships m on m.user_id = n.user_id and m.community_id = n.community_id
               join discussions d on d.id = n.discussion_id
               left join comments k on k.id = n.comment_id
               left join read_states r on r.user_id = n.user_id and r.discussion_id = n.discussion_id
               where n.user_id = $1 and not n.is_read and n.kind <> 'moderation'
                 and (n.discussion_id = $2 or n.community_id = $6 and n.article_id = $7)
                 and case when n.comment_id is null
                     then $3 and (r.is_read or d.created_at <= m.created_at)
                     else (n.comment_id = any($4) or n.comment_id <= $5) and (
                         n.comment_id <@ r.comments or k.created_at <= m.created_at or d.deleted_at is not null)
                     end
               -- Everyone locks them in this order, so no two tabs wait for each other.
               order by n.id
               for no key update of n
           )
           update notifications n set is_read = true from marked where n.id = marked.id
           returning n.id as "id: NotificationId", n.community_id as "community_id: CommunityId", clock_timestamp() as "timestamp!""#,
        member as _,
        discussion as _,
        own,
        comments as _,
        up_to as _,
        place.map(|(community, _)| community) as _,
        place.map(|(_, article)| article) as _
    )
    .fetch_all(write)
    .await?;
    let events = rows.chunks(MAX_IDS_IN_EVENT).map(|rows| {
        let mut ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        ids.sort_unstable();
        let (community_id, timestamp) = (rows[0].community_id, rows[0].timestamp);
        Change::NotificationsRead(NotificationsRead { user_id: member, community_id, ids: Some(ids), timestamp })
    });
    Ok(events.collect())
}

impl From<NotificationRow> for Notification {
    fn from(row: NotificationRow) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            community_id: row.community_id,
            article_id: row.article_id,
            discussion_id: row.discussion_id,
            comment_id: row.comment_id,
            topic: row.topic,
            excerpt: row.excerpt,
            actor: row.actor.map(Author::from),
            reason: row.reason,
            is_read: row.is_read,
            created_at: row.created_at,
        }
    }
}
