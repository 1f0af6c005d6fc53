//! The OpenAPI document. It is made from the code and committed in `openapi/`, and a test compares the two.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use utoipa::{
    IntoResponses, OpenApi, ToSchema,
    openapi::{AllOfBuilder, Content, ObjectBuilder, Ref, RefOr, ResponseBuilder, Schema},
};

use crate::{
    error::{Call, ErrorBody, ErrorCode},
    events,
};

/// The refusals of calls that read.
pub(crate) struct ReadErrors;
/// The refusals of a poll.
pub(crate) struct PollErrors;
/// The refusals of calls that write.
pub(crate) struct WriteErrors;
/// The refusals of log-ins.
pub(crate) struct LoginErrors;
/// The refusals of calls that change a thing, whose schema has the name `T`.
pub(crate) struct ChangeErrors<T>(std::marker::PhantomData<T>);

impl IntoResponses for ReadErrors {
    fn responses() -> Responses {
        refusals(Call::Read)
    }
}

impl IntoResponses for PollErrors {
    fn responses() -> Responses {
        refusals(Call::Poll)
    }
}

impl IntoResponses for WriteErrors {
    fn responses() -> Responses {
        refusals(Call::Write)
    }
}

impl IntoResponses for LoginErrors {
    fn responses() -> Responses {
        refusals(Call::LogIn)
    }
}

impl<T: ToSchema> IntoResponses for ChangeErrors<T> {
    fn responses() -> Responses {
        let current = ObjectBuilder::new().property("current", Ref::from_schema_name(T::name())).required("current");
        let body = AllOfBuilder::new().item(Ref::from_schema_name("ErrorBody")).item(current);
        let description = format!(
            "It has another version than `If-Match` or `if_updated_at` says, and `current` is what it is now: `{}`",
            ErrorCode::ChangedMeanwhile
        );
        let body = Content::new(Some(RefOr::T(Schema::AllOf(body.build()))));
        let response = ResponseBuilder::new().description(description).content("application/json", body);
        let mut responses = refusals(Call::Write);
        responses.insert(StatusCode::PRECONDITION_FAILED.as_u16().to_string(), response.build().into());
        responses
    }
}

type Responses = BTreeMap<String, RefOr<utoipa::openapi::Response>>;

/// The responses of `call`: what each status means, and its codes. A status without a code is left out.
fn refusals(call: Call) -> Responses {
    let not_found = match call {
        Call::Poll => "Register again, and poll on from the same cursor",
        Call::LogIn => "This server has no log-in by password",
        Call::Read | Call::Write => "There is no such thing, or not for this user",
    };
    let unauthorized = match call {
        Call::LogIn => "The password or the refresh token is not valid",
        Call::Read | Call::Poll | Call::Write => "Nobody is signed in, or not validly",
    };
    let meanings = [
        (StatusCode::BAD_REQUEST, "The request is malformed"),
        (StatusCode::UNAUTHORIZED, unauthorized),
        (StatusCode::FORBIDDEN, "Not for this user"),
        (StatusCode::NOT_FOUND, not_found),
        (StatusCode::CONFLICT, "It is deleted"),
        (StatusCode::PAYLOAD_TOO_LARGE, "The body is over 256 KiB"),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not `application/json`"),
        (StatusCode::UNPROCESSABLE_ENTITY, "Fields are invalid"),
        (StatusCode::TOO_MANY_REQUESTS, "Too many requests: try again after `Retry-After` seconds"),
        (StatusCode::INTERNAL_SERVER_ERROR, "A fault of the server"),
        (StatusCode::SERVICE_UNAVAILABLE, "Something the server needs is down: try again after `Retry-After` seconds"),
    ];
    let mut responses = Responses::new();
    for (status, meaning) in meanings {
        let is_named = |code: &&ErrorCode| code.status() == status && code.named_by().contains(&call);
        let codes: Vec<String> = ErrorCode::ALL.iter().filter(is_named).map(|code| format!("`{code}`")).collect();
        let description = match codes.as_slice() {
            // The codes depend on what the call looks for, so none is listed.
            [] if status == StatusCode::NOT_FOUND => meaning.to_owned(),
            [] => continue,
            codes => format!("{meaning}: {}", codes.join(", ")),
        };
        let body = Content::new(Some(Ref::from_schema_name("ErrorBody")));
        let response = ResponseBuilder::new().description(description).content("application/json", body);
        responses.insert(status.as_u16().to_string(), response.build().into());
    }
    responses
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "SciCommons discussions",
        description = "Discussions of papers inside communities, with every change delivered live by long polling.\n\n\
            Read a list, keep its `last_event_id`, `POST /register`, then `GET /poll` from there again and again; \
            `POST /heartbeat` while the person is active.",
    ),
    tags(
        (name = "discussions", description = "Topics on an article inside a community"),
        (name = "comments", description = "Comments of a discussion, nested three deep"),
        (name = "votes", description = "Votes on discussions and comments"),
        (name = "reads", description = "What members have read"),
        (name = "follows", description = "What members want to hear of"),
        (name = "notifications", description = "What concerns one user"),
        (name = "mentions", description = "Whom a text may mention"),
        (name = "summaries", description = "What admins say of an article's discussions"),
        (name = "realtime", description = "Register, poll, heartbeat"),
        (name = "login", description = "Log-in by password, where Django issues no tokens any more"),
        (name = "session", description = "Browser sessions in place of bearer tokens"),
    ),
    components(schemas(events::Change, events::Event, ErrorBody, ErrorCode)),
)]
struct Base;

/// The document without paths. The routers are merged into it.
pub(crate) fn base() -> utoipa::openapi::OpenApi {
    use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
    let mut document = Base::openapi();
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let cookie = ApiKeyValue::with_description(
        "discussions_session",
        "From `POST /session`. Unsafe methods need an allowed Origin.",
    );
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    document
}

/// The document as it is served and committed. Here the event becomes a union of named schemas with a discriminator, which
/// generators need and the derives do not make.
pub(crate) fn finish(document: utoipa::openapi::OpenApi) -> Value {
    let mut document = serde_json::to_value(document).expect("the document is plain data");
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        name_events(schemas);
        schemas.remove("i64");
    }
    inline_ids(&mut document);
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    paths.filter_map(Value::as_object_mut).flat_map(Map::values_mut).for_each(leave_out_body);
    document
}

/// The derives make of a body that may be left out one that may be null.
fn leave_out_body(operation: &mut Value) {
    let Some(body) = operation.get_mut("requestBody") else { return };
    let Some(schema) = body.pointer_mut("/content/application~1json/schema") else { return };
    let parts = schema["oneOf"].as_array();
    let Some([part, null]) = parts.map(Vec::as_slice) else { return };
    if null["type"] == "null" {
        *schema = part.clone();
        body["required"] = json!(false);
    }
}

/// The ids' types go by the name of `i64`, which the derives take for a schema of that name.
fn inline_ids(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.get("$ref").is_some_and(|reference| reference == "#/components/schemas/i64") {
                object.remove("$ref");
                object.insert("type".to_owned(), json!("integer"));
                object.insert("format".to_owned(), json!("int64"));
            }
            object.values_mut().for_each(inline_ids);
        }
        Value::Array(values) => values.iter_mut().for_each(inline_ids),
        _ => {}
    }
}

/// Replaces the schema of [`events::Event`] by a union of one named, flat schema for each variant of [`events::Change`].
fn name_events(schemas: &mut Map<String, Value>) {
    let Some(change) = schemas.remove("Change") else { return };
    let mut union = Vec::new();
    let mut mapping = Map::new();
    for variant in change["oneOf"].as_array().into_iter().flatten() {
        let flat = flatten(variant, schemas);
        let Some(tag) = flat.properties["type"]["enum"][0].as_str().map(str::to_owned) else { continue };
        let name: String = tag.split('_').map(capitalised).chain(["Event".to_owned()]).collect();
        let reference = format!("#/components/schemas/{name}");
        let description = variant["description"].as_str().unwrap_or_default();
        let event_id = json!({ "type": "integer", "format": "int64", "description": "Its place in the total order." });
        let mut properties = Map::from_iter([("event_id".to_owned(), event_id)]);
        properties.extend(flat.properties);
        let mut required = vec![json!("event_id")];
        required.extend(flat.required);
        // An event has deleted_at only if it is redacted.
        let named = properties.keys().filter(|name| *name != "deleted_at");
        let example: Map<_, _> = named.map(|name| (name.clone(), example_of(name, &tag))).collect();
        let schema = json!({
            "type": "object", "description": description, "required": required, "properties": properties, "example": example
        });
        schemas.insert(name, schema);
        union.push(json!({ "$ref": reference }));
        mapping.insert(tag, json!(reference));
    }
    let description = "A committed change, with its place in the total order. Events carry absolute state, so applying one twice is safe.";
    let discriminator = json!({ "propertyName": "type", "mapping": mapping });
    schemas.insert(
        "Event".to_owned(),
        json!({ "description": description, "oneOf": union, "discriminator": discriminator }),
    );
    for part in [
        "DiscussionState",
        "CommentState",
        "SummaryState",
        "WrittenComment",
        "MembershipChange",
        "ReadState",
        "ReadStateChange",
        "FollowChange",
        "NewNotification",
        "NotificationsRead",
        "NotificationsWithdrawn",
    ] {
        schemas.remove(part);
    }
}

/// The example of an event's property. A name means the same in every event.
fn example_of(property: &str, tag: &str) -> Value {
    match property {
        "event_id" => json!(12346),
        "type" => json!(tag),
        "community_id" => json!(42),
        "article_id" => json!(789),
        "discussion_id" => json!(77),
        "comment_id" => json!(456),
        "depth" => json!(1),
        "topic" => json!("Sample size"),
        "text" => json!("Is **n = 12** enough?"),
        "author" => json!({ "id": 9, "username": "ada", "avatar_url": null }),
        "mentions" => json!([{ "id": 12, "username": "grace", "avatar_url": null }]),
        "is_resolved" => json!(false),
        "comment_count" => json!(3),
        "comment_version" => json!(3),
        "is_unread" => json!(false),
        "unread_count" => json!(2),
        "first_unread_comment_id" => json!(455),
        "read_comments" => json!([[1, 454]]),
        "level" => json!("follow"),
        "is_default" => json!(false),
        "is_followed" => json!(true),
        "previous_level" => json!("default"),
        "upvotes" => json!(2),
        "downvotes" => json!(0),
        "value" => json!(1),
        "user_id" => json!(9),
        "notification_id" => json!(31),
        "kind" if tag == "new_notification" => json!("reply"),
        "kind" => json!("private"),
        "ids" => json!([31]),
        "role" => json!("member"),
        "previous_kind" => json!("public"),
        "revision" => json!(3),
        "timestamp" | "created_at" | "updated_at" => json!("2025-08-09T12:34:56Z"),
        // parent_id, previous_role, edited_at, resolved_at and resolved_by. If null does not suit another property, a test fails.
        _ => Value::Null,
    }
}

#[derive(Default)]
struct Flat {
    properties: Map<String, Value>,
    required: Vec<Value>,
}

/// All properties of a schema, those of its references and parts included.
fn flatten(schema: &Value, schemas: &Map<String, Value>) -> Flat {
    let mut flat = Flat::default();
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return schemas.get(name).map(|schema| flatten(schema, schemas)).unwrap_or_default();
    }
    let parts = schema["allOf"].as_array().into_iter().flatten().map(|part| flatten(part, schemas));
    for part in parts {
        flat.properties.extend(part.properties);
        flat.required.extend(part.required);
    }
    if let Some(properties) = schema["properties"].as_object() {
        flat.properties.extend(properties.clone());
        flat.required.extend(schema["required"].as_array().into_iter().flatten().cloned());
    }
    flat
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
