//! Extractors like axum's own, whose refusals are [`ApiError`]s.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, OptionalFromRequest, Request, rejection::BytesRejection},
    http::{StatusCode, header, request::Parts},
};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use crate::{
    error::{ApiError, ErrorCode},
    ids::QueueId,
};

/// A JSON body. 415 without the content type of JSON, 413 if it is too large, 400 if it is not JSON, and 422 for the field that has
/// another shape.
#[derive(Debug, Default)]
pub(crate) struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let is_json = (request.headers().get(header::CONTENT_TYPE))
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
        if !is_json {
            return Err(ErrorCode::UnsupportedMediaType.into());
        }
        let body = Bytes::from_request(request, state).await.map_err(body_refusal)?;
        parse(&body).map(Self)
    }
}

/// A JSON body that may be left out: an empty body is none, whatever its content type.
impl<S: Send + Sync, T: DeserializeOwned> OptionalFromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, ApiError> {
        let (parts, body) = request.into_parts();
        let body = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await.map_err(body_refusal)?;
        if body.is_empty() {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(Request::from_parts(parts, body.into()), state).await.map(Some)
    }
}

fn body_refusal(rejection: BytesRejection) -> ApiError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        ErrorCode::BodyTooLarge.into()
    } else {
        ApiError::from(ErrorCode::MalformedJson).message("the body is incomplete")
    }
}

/// Parses `body` as a JSON object of the type `T`. 400 if it is not JSON, 422 for the field that has another shape.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let malformed = |cause: serde_json::Error| {
        ApiError::from(ErrorCode::MalformedJson).message(format!("the body is not valid JSON: {cause}"))
    };
    // serde would also take an array of the fields.
    if !body.trim_ascii_start().starts_with(b"{") {
        let _: IgnoredAny = serde_json::from_slice(body).map_err(malformed)?;
        return Err(ApiError::invalid_field("body", "is no JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        let name = if path == "." { "body" } else { &path };
        if cause.is_data() {
            ApiError::invalid_field(name, without_position(&cause))
        } else if serde_json::from_slice::<Value>(body).is_ok() {
            // For serde, a number in place of a name is no JSON.
            ApiError::invalid_field(name, "has another type")
        } else {
            malformed(cause)
        }
    })?;
    json.end().map_err(malformed)?;
    Ok(value)
}

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

/// The query of the address. 400 if a parameter is missing or has another type, or if `T` denies unknown parameters and one is.
pub(crate) struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + 'static> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::from(ErrorCode::InvalidParameter).message(rejection.body_text())),
        }
    }
}

/// An id in the path. 400 if it is not a number of 64 bits.
pub(crate) struct PathId<T>(pub T);

impl<S: Send + Sync, T: From<i64>> FromRequestParts<S> for PathId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::<i64>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(id)) => Ok(Self(id.into())),
            Err(_) => Err(ApiError::invalid_parameter("id", "is not a whole number of at most 63 bits")),
        }
    }
}

/// A queue's id in the path. An id that does not parse cannot belong to a queue, so the answer is 404.
pub(crate) struct PathQueue(pub QueueId);

impl<S: Send + Sync> FromRequestParts<S> for PathQueue {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::<QueueId>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(id)) => Ok(Self(id)),
            Err(_) => Err(ErrorCode::QueueNotFound.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_refused_by_kind() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            #[expect(dead_code, reason = "only its parsing is looked at")]
            text: String,
        }
        let code = |body: &str| parse::<Body>(body.as_bytes()).unwrap_err().code();
        for malformed in ["", "{", "{\"text\":\"\\ud800\"}", "{\"text\":\"a\"}x", "nonsense"] {
            assert_eq!(code(malformed), ErrorCode::MalformedJson, "{malformed}");
        }
        assert_eq!(parse::<Body>(b"{\"text\":\"\xff\"}").unwrap_err().code(), ErrorCode::MalformedJson);
        for wrong in [
            "{}",
            "[]",
            "[\"a\"]",
            "3",
            "{\"text\":3}",
            "{\"text\":\"a\",\"more\":1}",
            "{\"text\":\"a\",\"text\":\"a\"}",
        ] {
            assert_eq!(code(wrong), ErrorCode::InvalidFields, "{wrong}");
        }
    }
}
