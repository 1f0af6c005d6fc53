//! The SQL of authors.

use rand::seq::IndexedRandom;

use super::{Author, Identity};
use crate::{
    db::Write,
    error::{ApiError, Result},
    ids::{ArticleId, CommunityId, PseudonymId, UserId},
};

/// The author of a new discussion or comment.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedAuthor {
    /// The pseudonym that the new row refers to, if the author has one there.
    pub pseudonym_id: Option<PseudonymId>,
    /// The author as other users see them.
    pub author: Author,
}

const ADJECTIVES: [&str; 32] = [
    "Amber", "Ancient", "Bright", "Calm", "Careful", "Clear", "Copper", "Crimson", "Curious", "Distant", "Early",
    "Gentle", "Golden", "Hidden", "Humble", "Keen", "Lively", "Lucid", "Mellow", "Northern", "Patient", "Quiet",
    "Rapid", "Silver", "Steady", "Subtle", "Swift", "Tidal", "Velvet", "Warm", "Western", "Young",
];
const NOUNS: [&str; 32] = [
    "Albatross",
    "Aspen",
    "Badger",
    "Beacon",
    "Birch",
    "Comet",
    "Condor",
    "Crane",
    "Falcon",
    "Fern",
    "Finch",
    "Glacier",
    "Heron",
    "Ibis",
    "Juniper",
    "Kestrel",
    "Lantern",
    "Lichen",
    "Lynx",
    "Maple",
    "Marten",
    "Meadow",
    "Nebula",
    "Orchid",
    "Otter",
    "Petrel",
    "Plover",
    "Quartz",
    "Raven",
    "Sparrow",
    "Tern",
    "Willow",
];

/// A random pseudonym. It reveals nothing about the person.
fn random_name() -> String {
    let mut rng = rand::rng();
    let word = |words: &[&'static str; 32]| *words.choose(&mut rand::rng()).expect("the list has words");
    let number = rand::Rng::random_range(&mut rng, 100..1000);
    format!("{} {} {number}", word(&ADJECTIVES), word(&NOUNS))
}

/// Finds out how `user` appears on an article of a community: under their name, or under a pseudonym, which is made when they
/// write there for the first time. `token_invalid` if there is no such user.
pub(crate) async fn resolve(
    write: &mut Write,
    user: UserId,
    community: CommunityId,
    article: ArticleId,
    is_pseudonymous: bool,
) -> Result<ResolvedAuthor> {
    if !is_pseudonymous {
        // The lock lasts until the commit. A rename waits for it, so it comes after the event with this name (migration 0010).
        let row = sqlx::query!("select username, avatar_url from users where id = $1 for share", user as _)
            .fetch_optional(&mut *write)
            .await?
            .ok_or(crate::error::ErrorCode::TokenInvalid)?;
        let identity = Identity { user_id: user, username: row.username, avatar_url: row.avatar_url, pseudonym: None };
        return Ok(ResolvedAuthor { pseudonym_id: None, author: Author::from(identity) });
    }
    // The insert does nothing if the name is taken, or if another request of this user has just made the pseudonym.
    for _ in 0..20 {
        let found = sqlx::query!(
            r#"select id as "id: PseudonymId", name, avatar_url from pseudonyms where community_id = $1 and article_id = $2 and user_id = $3"#,
            community as _,
            article as _,
            user as _
        )
        .fetch_optional(&mut *write)
        .await?;
        if let Some(row) = found {
            let author = Author::pseudonymous(row.name, row.avatar_url);
            return Ok(ResolvedAuthor { pseudonym_id: Some(row.id), author });
        }
        sqlx::query!(
            "insert into pseudonyms (community_id, article_id, user_id, name) values ($1, $2, $3, $4) on conflict do nothing",
            community as _,
            article as _,
            user as _,
            random_name()
        )
        .execute(&mut *write)
        .await?;
    }
    Err(ApiError::internal("found no free pseudonym in 20 tries"))
}
