//! The SQL of authors.

use rand::seq::IndexedRandom;

use super::{Author, Identity};
use crate::{
    db::Write,
    error::{ApiError, Result},
    ids::{ArticleId, CommunityId, PseudonymId, UserId},
};

/// Whose name a new row carries.
#[derive(Clone, Debug)]
pub struct ResolvedAuthor {
    /// The pseudonym's id for the row, where there is one.
    pub pseudonym_id: Option<PseudonymId>,
    /// What others see.
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

/// A name that says nothing of the person who gets it.
fn random_name() -> String {
    let mut rng = rand::rng();
    let word = |words: &[&'static str; 32]| *words.choose(&mut rand::rng()).expect("the list has words");
    let number = rand::Rng::random_range(&mut rng, 100..1000);
    format!("{} {} {number}", word(&ADJECTIVES), word(&NOUNS))
}

/// How `user` signs on an article of a community; a first contribution where pseudonyms are used makes the pseudonym.
/// `token_invalid` where the directory does not know the user.
pub async fn resolve(
    write: &mut Write,
    user: UserId,
    community: CommunityId,
    article: ArticleId,
    pseudonymous: bool,
) -> Result<ResolvedAuthor> {
    if !pseudonymous {
        // Held until the commit: a rename waits for the event that carries this name, see migration 0010.
        let row = sqlx::query!("select username, avatar_url from users where id = $1 for share", user as _)
            .fetch_optional(&mut *write)
            .await?
            .ok_or(crate::error::ErrorCode::TokenInvalid)?;
        let identity = Identity { user_id: user, username: row.username, avatar_url: row.avatar_url, pseudonym: None };
        return Ok(ResolvedAuthor { pseudonym_id: None, author: Author::of(identity) });
    }
    // A taken name inserts nothing, and so does a pseudonym that another request of the same user has just made.
    for _ in 0..20 {
        let found = sqlx::query!(
            r#"select id as "id: PseudonymId", name from pseudonyms where community_id = $1 and article_id = $2 and user_id = $3"#,
            community as _,
            article as _,
            user as _
        )
        .fetch_optional(&mut *write)
        .await?;
        if let Some(row) = found {
            let author = Author::under(row.name);
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
    Err(ApiError::internal("no free pseudonym after 20 tries"))
}
