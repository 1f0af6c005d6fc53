//! The cursor and the limit of a page of a list.

use std::fmt::Display;

use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::{ApiError, Result};

/// The query parameters of a page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// The `next_cursor` of the previous page. Leave it out for the first page.
    cursor: Option<String>,
    /// The most items to return, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<i64>,
}

impl PageQuery {
    /// The id after which the page starts. None for the first page. 400 if the cursor is not a `next_cursor`.
    pub(crate) fn after<T: From<i64>>(&self) -> Result<Option<T>> {
        let after = self.cursor.as_deref().map(|cursor| cursor.parse().ok().filter(|id| *id > 0));
        match after {
            Some(None) => Err(ApiError::invalid_parameter("cursor", "is not a cursor of this list")),
            Some(Some(id)) => Ok(Some(T::from(id))),
            None => Ok(None),
        }
    }

    /// The most items to return. 400 if it is not 1 to 100.
    pub(crate) fn limit(&self) -> Result<i64> {
        match self.limit.unwrap_or(20) {
            limit @ 1..=100 => Ok(limit),
            limit => Err(ApiError::invalid_parameter("limit", format!("is {limit}; it must be 1 to 100"))),
        }
    }
}

/// The cursor of the next page, or None if this is the last one. `ids` are those of the rows that a statement found which looked
/// for one more than `limit`. If it found that many, there is a next page.
pub(crate) fn next_cursor(ids: impl ExactSizeIterator<Item: Display>, limit: i64) -> Option<String> {
    let limit = usize::try_from(limit).ok().filter(|limit| ids.len() > *limit)?;
    ids.take(limit).last().map(|id| id.to_string())
}
