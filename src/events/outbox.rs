//! The outbox: events written in the transaction of their change (I1).

use super::Change;
use crate::{
    db::Write,
    error::{ApiError, Result},
};

impl Write {
    /// Writes `change` into the outbox. It is delivered if and only if this transaction commits.
    pub async fn emit(&mut self, change: &Change) -> Result<()> {
        sqlx::query!(
            "insert into outbox (community_id, type, payload) values ($1, $2, $3::text::json)",
            change.community_id() as _,
            change.kind(),
            payload(change)?
        )
        .execute(self)
        .await?;
        Ok(())
    }
}

/// The change as the outbox holds it, for statements that write the row themselves.
pub(crate) fn payload(change: &Change) -> Result<String> {
    serde_json::to_string(change).map_err(ApiError::internal)
}
