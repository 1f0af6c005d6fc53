//! The outbox: events written in the transaction of their change (I1).

use sqlx::PgConnection;
use tokio::sync::Notify;

use super::Change;
use crate::error::{ApiError, Result};

/// Adds `change` to the outbox of this transaction: it is delivered if and only if the transaction commits.
pub async fn append(transaction: &mut PgConnection, change: &Change) -> Result<()> {
    sqlx::query!(
        "insert into outbox (community_id, type, payload) values ($1, $2, $3::text::json)",
        change.community_id(),
        change.kind(),
        payload(change)?
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// The change as the outbox holds it, for statements that write their own row.
pub fn payload(change: &Change) -> Result<String> {
    serde_json::to_string(change).map_err(ApiError::internal)
}

/// Wakes the relay after a commit. Many wake-ups in a row are one. It is only a wish: the relay's timer is the net.
#[derive(Default)]
pub struct Wake(Notify);

impl Wake {
    /// Says that a transaction with an outbox row has been committed.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Waits for a wake-up since the last wait.
    pub async fn woken(&self) {
        self.0.notified().await;
    }
}
