//! The handlers of notifications.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    model::{NotificationPage, ReadNotifications},
    store,
};
use crate::{
    auth::{Viewer, access},
    error::Result,
    extract::{JsonBody, Query},
    openapi::{ReadErrors, WriteErrors},
    page::PageQuery,
    state::AppState,
};

/// Which notifications to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct NotificationQuery {
    /// True for those that are unread only.
    #[serde(default)]
    unread: bool,
}

/// List your notifications, newest first
///
/// Listing them marks none as read.
#[utoipa::path(get, path = "/notifications", tag = "notifications", operation_id = "listNotifications",
    params(NotificationQuery, PageQuery), security(("bearer" = []), ("session" = [])),
    responses((status = 200, description = "A page of notifications", body = NotificationPage), ReadErrors))]
pub(super) async fn list(
    State(state): State<AppState>,
    viewer: Viewer,
    Query(NotificationQuery { unread }): Query<NotificationQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<NotificationPage>> {
    let (before, limit) = (page.after()?, page.limit()?);
    Ok(Json(store::page(&state.db, &viewer, unread, before, limit).await?))
}

/// Mark notifications as read
///
/// Marks add up, in whatever order they come. A mark that is there already makes no event.
#[utoipa::path(post, path = "/notifications/read", tag = "notifications", operation_id = "markNotificationsRead",
    request_body = ReadNotifications, security(("bearer" = []), ("session" = [])),
    responses((status = 204, description = "They are read"), WriteErrors))]
pub(super) async fn mark_read(
    State(state): State<AppState>,
    viewer: Viewer,
    JsonBody(marks): JsonBody<ReadNotifications>,
) -> Result<StatusCode> {
    let marks = marks.validate()?;
    access::active_account(&state.db, &viewer).await?;
    let mut write = state.db.write();
    let changes = store::mark_read(&mut write, &viewer, &marks).await?;
    if !changes.is_empty() {
        write.emit_all(&changes).await?;
        write.commit().await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
