//! The outbox: events written in the transaction of their change (I1).

use serde::Serialize;
use serde_json::json;
use sqlx::PgExecutor;

use super::{Change, WrittenComment};
use crate::{
    db::Write,
    error::{ApiError, Result},
    ids::{ArticleId, CommunityId, EventId, QueueId, UserId},
};

impl Write {
    /// Writes `change` into the outbox. It is delivered if and only if this transaction commits.
    pub async fn emit(&mut self, change: &Change) -> Result<()> {
        sqlx::query!(
            "insert into outbox (community_id, user_id, type, payload) values ($1, $2, $3, $4::text::json)",
            change.community_id() as _,
            change.user_id() as _,
            change.kind(),
            serde_json::to_string(change).map_err(ApiError::internal)?
        )
        .execute(self)
        .await?;
        Ok(())
    }

    /// Writes `changes` into the outbox, in this order. They are delivered if and only if this transaction commits.
    pub async fn emit_all(&mut self, changes: &[Change]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let communities: Vec<i64> = changes.iter().map(|change| change.community_id().get()).collect();
        let users: Vec<Option<i64>> = changes.iter().map(|change| change.user_id().map(UserId::get)).collect();
        let kinds: Vec<String> = changes.iter().map(|change| change.kind().to_owned()).collect();
        let payloads: Vec<String> =
            changes.iter().map(serde_json::to_string).collect::<Result<_, _>>().map_err(ApiError::internal)?;
        sqlx::query!(
            "insert into outbox (community_id, user_id, type, payload)
             select c.community_id, c.user_id, c.type, c.payload::json
             from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[])
                 with ordinality as c (community_id, user_id, type, payload, place)
             order by c.place",
            &communities,
            &users as _,
            &kinds,
            &payloads
        )
        .execute(self)
        .await?;
        Ok(())
    }

    /// Tells all nodes which communities a queue watches after this place in the order, and returns the row. The next call for the same
    /// queue waits until this transaction has ended.
    pub(crate) async fn announce_watch(&mut self, queue: QueueId, communities: &[CommunityId]) -> Result<i64> {
        let says = json!({ "type": "queue_watches", "queue_id": queue, "community_ids": communities });
        let row = sqlx::query_scalar!(
            r#"with turn as materialized (select pg_advisory_xact_lock(hashtextextended($1, 0)))
               insert into outbox (community_id, type, payload) select 0, 'queue_watches', $2::text::json from turn
               returning id as "id!""#,
            queue.to_string(),
            says.to_string()
        );
        Ok(row.fetch_one(self).await?)
    }
}

/// The place in the order of a committed row. None until the relay has numbered it.
pub(crate) async fn place(db: impl PgExecutor<'_>, row: i64) -> Result<Option<EventId>> {
    let place = sqlx::query_scalar!(r#"select event_id as "event_id: EventId" from outbox where id = $1"#, row);
    Ok(place.fetch_optional(db).await?.flatten())
}

/// A [`Change`] without its `comment_count` and `comment_version`, for a statement that changes the count and writes the outbox row at
/// once. Only the statement knows the two, and adds them to the payload.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum UncountedChange {
    /// See [`Change::NewComment`].
    NewComment(WrittenComment),
}

impl UncountedChange {
    /// The community in which it happened.
    pub(crate) fn community_id(&self) -> CommunityId {
        match self {
            Self::NewComment(written) => written.comment.community_id,
        }
    }

    /// The article that it is about.
    pub(crate) fn article_id(&self) -> ArticleId {
        match self {
            Self::NewComment(written) => written.comment.article_id,
        }
    }

    /// Its `type`, as clients see it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::NewComment(_) => "new_comment",
        }
    }

    /// What the outbox row holds, as JSON, but for the `comment_count` and `comment_version`.
    pub(crate) fn payload(&self) -> Result<String> {
        serde_json::to_string(self).map_err(ApiError::internal)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::Value;

    use super::*;
    use crate::{authors::Author, events::CommentState};

    #[test]
    fn an_uncounted_change_lacks_the_count_and_nothing_else() {
        let comment = CommentState {
            community_id: 42.into(),
            article_id: 789.into(),
            discussion_id: 77.into(),
            comment_id: 456.into(),
            parent_id: None,
            text: Some("Nice article!".to_owned()),
            author: Some(Author::pseudonymous("Quiet Heron 123".to_owned(), None)),
            mentions: vec![Author::pseudonymous("Calm Lynx 456".to_owned(), None)],
            upvotes: 0,
            downvotes: 0,
            edited_at: None,
            timestamp: DateTime::<Utc>::UNIX_EPOCH,
            deleted_at: None,
        };
        let written = WrittenComment { comment, depth: 1 };
        let uncounted = UncountedChange::NewComment(written.clone());
        let mut payload: Value = serde_json::from_str(&uncounted.payload().unwrap()).unwrap();
        assert!(serde_json::from_value::<Change>(payload.clone()).is_err());
        payload["comment_count"] = json!(3);
        payload["comment_version"] = json!(5);

        let change = Change::NewComment { written, comment_count: 3, comment_version: Some(5) };
        assert_eq!(payload, serde_json::to_value(&change).unwrap());
        assert_eq!(serde_json::from_value::<Change>(payload).unwrap(), change);
        assert_eq!((uncounted.kind(), uncounted.community_id()), (change.kind(), change.community_id()));
    }
}
