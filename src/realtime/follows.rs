//! Reads what a user follows as of the database's head, for queues that want only that.

use sqlx::PgExecutor;

use crate::{
    error::Result,
    events::{Change, FollowLevel},
    ids::{ArticleId, CommunityId, DiscussionId, EventId, UserId},
};

/// What a user said something about: an article in a community or, if it is given, a discussion on it.
pub type Said = (CommunityId, ArticleId, Option<DiscussionId>);

/// What a user follows at `head`, the head of the memberships that were read with it.
#[derive(Clone, Debug, Default)]
pub struct FollowHistory {
    /// The event after which this holds.
    pub head: EventId,
    /// What the user said.
    pub said: Vec<(Said, FollowLevel)>,
    /// The discussions in which they wrote.
    pub written: Vec<DiscussionId>,
    /// The articles that they submitted.
    pub submitted: Vec<ArticleId>,
    /// The communities that they administer.
    pub administered: Vec<CommunityId>,
    /// Where they write by which pseudonym.
    pub pseudonyms: Vec<(CommunityId, ArticleId, String)>,
}

#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "record")]
struct SaidRow {
    community_id: CommunityId,
    article_id: ArticleId,
    discussion_id: Option<DiscussionId>,
    level: FollowLevel,
}

#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "record")]
struct PseudonymRow {
    community_id: CommunityId,
    article_id: ArticleId,
    name: String,
}

/// Reads what a user follows, in one statement and so in one snapshot.
///
/// The tables may be ahead of `head`, as for memberships. This undoes what the user said in later events, and in those that have no
/// number yet. What follows from writing, submitting and administering may be newer, because it counts as it is at the delivery.
pub(crate) async fn read(db: impl PgExecutor<'_>, user: UserId, head: EventId) -> Result<FollowHistory> {
    let row = sqlx::query!(
        r#"select array(select row(community_id, article_id, null::bigint, level) from article_follows where user_id = $1
                        union all
                        select row(d.community_id, d.article_id, d.id, f.level)
                        from discussion_follows f join discussions d on d.id = f.discussion_id where f.user_id = $1)
                      as "said!: Vec<SaidRow>",
                  array(select discussion_id from comments where author_id = $1
                        union select id from discussions where author_id = $1) as "written!: Vec<DiscussionId>",
                  array(select id from articles where submitter_id = $1) as "submitted!: Vec<ArticleId>",
                  array(select community_id from memberships where user_id = $1 and role = 'admin')
                      as "administered!: Vec<CommunityId>",
                  array(select row(community_id, article_id, name) from pseudonyms where user_id = $1)
                      as "pseudonyms!: Vec<PseudonymRow>",
                  array(select payload::text from outbox
                        where user_id = $1 and type = 'follow_changed' and (event_id is null or event_id > $2)
                        order by id desc) as "later!""#,
        user as _,
        head as _
    )
    .fetch_one(db)
    .await?;
    let mut history = FollowHistory {
        head,
        said: row
            .said
            .into_iter()
            .map(|row| ((row.community_id, row.article_id, row.discussion_id), row.level))
            .collect(),
        written: row.written,
        submitted: row.submitted,
        administered: row.administered,
        pseudonyms: row.pseudonyms.into_iter().map(|row| (row.community_id, row.article_id, row.name)).collect(),
    };
    // From the newest to the oldest: the oldest says how it was before all of them.
    for payload in row.later {
        if let Ok(Change::FollowChanged(change)) = serde_json::from_str(&payload) {
            let said = (change.community_id, change.article_id, change.discussion_id);
            history.said.retain(|(other, _)| *other != said);
            history.said.push((said, change.previous_level));
        }
    }
    Ok(history)
}
