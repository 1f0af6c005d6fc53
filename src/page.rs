//! Pages: an opaque cursor and a limit.

use std::fmt::Display;

use serde::Deserialize;
use utoipa::IntoParams;

use crate::error::{ApiError, Result};

/// The query parameters of a page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// `next_cursor` of the page before; without it the first page.
    cursor: Option<String>,
    /// How many items, 1 to 100; 20 without it.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<i64>,
}

impl PageQuery {
    /// The id after which the page starts, where there is one. 400 for what was never a `next_cursor`.
    pub fn after<T: From<i64>>(&self) -> Result<Option<T>> {
        let after = self.cursor.as_deref().map(|cursor| cursor.parse().ok().filter(|id| *id > 0));
        match after {
            Some(None) => Err(ApiError::invalid_parameter("cursor", "is not a cursor of this list")),
            Some(Some(id)) => Ok(Some(T::from(id))),
            None => Ok(None),
        }
    }

    /// How many items. 400 outside 1..=100.
    pub fn limit(&self) -> Result<i64> {
        match self.limit.unwrap_or(20) {
            limit @ 1..=100 => Ok(limit),
            limit => Err(ApiError::invalid_parameter("limit", format!("is {limit}; 1 to 100 is possible"))),
        }
    }
}

/// The cursor of the page after this one. `ids` are those of the rows found with one more asked for than `limit`; the
/// surplus row is what says that there is a next page.
pub fn next_cursor(ids: impl ExactSizeIterator<Item: Display>, limit: i64) -> Option<String> {
    let limit = usize::try_from(limit).ok().filter(|limit| ids.len() > *limit)?;
    ids.take(limit).last().map(|id| id.to_string())
}
