//! The OpenAPI document is committed as generated, complete and correct.

use std::{collections::BTreeSet, path::Path};

use discussions::{events::Event, router};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::{
    app::{Client, TestApp},
    login,
};

/// The differences between `value` and the schema. Panics at keywords that our document does not use, so that none is ignored.
fn differences(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    let schema = schema.as_object().unwrap_or_else(|| panic!("{at}: the schema is {schema}"));
    for (keyword, rule) in schema {
        match keyword.as_str() {
            "$ref" => found.extend(differences(document, resolve(document, rule), value, at)),
            "allOf" => {
                found.extend(rule.as_array().unwrap().iter().flat_map(|part| differences(document, part, value, at)));
            }
            "oneOf" => {
                let all: Vec<_> =
                    rule.as_array().unwrap().iter().map(|part| differences(document, part, value, at)).collect();
                if all.iter().filter(|differences| differences.is_empty()).count() != 1 {
                    found.push(format!("{at}: {value} is not exactly one of: {all:?}"));
                }
            }
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !types.iter().any(|one| has_type(value, one.as_str().unwrap())) {
                    found.push(format!("{at}: {value} is no {rule}"));
                }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => {
                found.push(format!("{at}: {value} is none of {rule}"))
            }
            "minimum" if value.as_f64() < rule.as_f64() => found.push(format!("{at}: {value} is below {rule}")),
            "maximum" if value.as_f64() > rule.as_f64() => found.push(format!("{at}: {value} is above {rule}")),
            "minLength" | "maxLength" => {
                let (length, bound) = (value.as_str().map(|text| text.chars().count() as u64), rule.as_u64());
                if length.is_some() && if keyword == "minLength" { length < bound } else { length > bound } {
                    found.push(format!("{at}: {keyword} {rule}"));
                }
            }
            "format" => {
                let holds = match (rule.as_str().unwrap(), value.as_str()) {
                    ("date-time", Some(text)) => {
                        chrono::DateTime::parse_from_rfc3339(text).is_ok() && text.ends_with('Z')
                    }
                    ("uuid", Some(text)) => uuid::Uuid::parse_str(text).is_ok(),
                    _ => true,
                };
                if !holds {
                    found.push(format!("{at}: {value} is no {rule}"));
                }
            }
            "maxItems" => {
                if value.as_array().is_some_and(|items| items.len() as u64 > rule.as_u64().unwrap()) {
                    found.push(format!("{at}: more than {rule} items"));
                }
            }
            "prefixItems" => {
                for (index, (rule, item)) in rule.as_array().unwrap().iter().zip(value.as_array().unwrap()).enumerate()
                {
                    found.extend(differences(document, rule, item, &format!("{at}[{index}]")));
                }
            }
            "items" if rule == false => {
                let items = schema["prefixItems"].as_array().map_or(0, Vec::len);
                if value.as_array().is_some_and(|all| all.len() > items) {
                    found.push(format!("{at}: more than {items} items"));
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(differences(document, rule, item, &format!("{at}[{index}]")));
                }
            }
            "required" => {
                let missing = |name: &&Value| value.is_object() && value.get(name.as_str().unwrap()).is_none();
                found.extend(rule.as_array().unwrap().iter().filter(missing).map(|name| format!("{at}: no {name}")));
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    let property =
                        value.get(name).map(|value| differences(document, rule, value, &format!("{at}.{name}")));
                    found.extend(property.into_iter().flatten());
                }
            }
            "additionalProperties" if rule.is_object() => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    found.extend(differences(document, rule, value, &format!("{at}.{name}")));
                }
            }
            "enum"
            | "minimum"
            | "maximum"
            | "additionalProperties"
            | "propertyNames"
            | "description"
            | "example"
            | "examples"
            | "discriminator"
            | "default" => {}
            other => panic!("{at}: what does {other} mean?"),
        }
    }
    found
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("what is a {other}?"),
    }
}

fn resolve<'a>(document: &'a Value, reference: &Value) -> &'a Value {
    let path = reference.as_str().unwrap().strip_prefix('#').unwrap();
    document.pointer(path).unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

/// Every property that a value of the schema may have at its first level.
fn names(document: &Value, schema: &Value) -> BTreeSet<String> {
    let mut names: BTreeSet<String> =
        schema["properties"].as_object().into_iter().flat_map(Map::keys).cloned().collect();
    if let Some(reference) = schema.get("$ref") {
        names.extend(self::names(document, resolve(document, reference)));
    }
    for keyword in ["allOf", "oneOf"] {
        for part in schema[keyword].as_array().into_iter().flatten() {
            names.extend(self::names(document, part));
        }
    }
    names
}

#[track_caller]
fn conforms(document: &Value, schema: &Value, value: &Value, of: &str) {
    let differences = differences(document, schema, value, "it");
    assert!(differences.is_empty(), "{of}: {value}: {differences:#?}");
    let names = names(document, schema);
    for name in value.as_object().into_iter().flat_map(Map::keys) {
        assert!(names.contains(name), "{of}: {name} is not in the document");
    }
}

/// Every operation, with its path and method.
fn operations(document: &Value) -> Vec<(&String, &String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |(method, it)| (path, method, it)))
        .collect()
}

#[test]
fn the_committed_document_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap();
    let made = serde_json::to_string_pretty(&router::document()).unwrap() + "\n";
    assert!(committed == made, "openapi/openapi.json is not what the code says: make openapi, and commit it");
}

#[tokio::test]
async fn the_served_document_is_the_committed_one() {
    let app = TestApp::start().await;
    let answer = app.anonymous().get("/openapi.json").await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.expect(200), router::document());
}

#[test]
fn every_reference_leads_somewhere() {
    fn all<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref"));
                object.values().for_each(|value| all(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| all(value, found)),
            _ => {}
        }
    }
    let document = router::document();
    let mut references = Vec::new();
    all(&document, &mut references);
    assert!(references.len() > 50);
    for reference in &references {
        resolve(&document, reference);
    }
    // Every schema is used.
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        let reference = json!(format!("#/components/schemas/{name}"));
        assert!(references.contains(&&reference), "{name} is never used");
    }
}

#[test]
fn every_operation_has_its_security_its_errors_and_an_example() {
    let document = router::document();
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    let error = json!({ "$ref": "#/components/schemas/ErrorBody" });
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let of = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{of}");
        assert!(operation["summary"].is_string() && operation["tags"].is_array(), "{of}");
        for security in operation["security"].as_array().unwrap_or_else(|| panic!("{of}: who may?")) {
            assert!(security.as_object().unwrap().keys().all(|name| schemes.contains_key(name)), "{of}");
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{of}: {parameter}");
        }
        let responses = operation["responses"].as_object().unwrap();
        let mut expected = vec!["400", "401", "404", "500", "503"];
        if path != "/poll" && !path.starts_with("/auth/") {
            expected.push("403");
        }
        if operation.get("requestBody").is_some() {
            expected.extend(["413", "415", "422"]);
        }
        for status in expected {
            assert!(responses.contains_key(status), "{of} has no {status}");
        }
        for (status, response) in responses {
            assert!(response["description"].is_string(), "{of} {status}");
            let schema = &response["content"]["application/json"]["schema"];
            match status.as_str() {
                "204" => assert!(response.get("content").is_none(), "{of}"),
                "200" | "201" => has_example(&document, schema, &format!("{of} {status}")),
                // With the thing as it is now.
                "412" => assert_eq!(schema["allOf"][0], error, "{of} {status}"),
                _ => assert_eq!(*schema, error, "{of} {status}"),
            }
        }
        if let Some(body) = operation.get("requestBody") {
            has_example(&document, &body["content"]["application/json"]["schema"], &format!("{of}: its body"));
        }
    }
    assert_eq!(ids.len(), 38);
}

fn has_example(document: &Value, schema: &Value, of: &str) {
    let schema = resolve(document, &schema["$ref"]);
    match schema["oneOf"].as_array() {
        Some(all) => all.iter().for_each(|one| has_example(document, one, of)),
        None => conforms(document, schema, schema.get("example").unwrap_or_else(|| panic!("{of} has no example")), of),
    }
}

#[test]
fn the_union_of_events_is_told_apart_by_its_type() {
    let document = router::document();
    let schemas = &document["components"]["schemas"];
    let event = &schemas["Event"];
    assert_eq!(event["discriminator"]["propertyName"], "type");
    let mapping = event["discriminator"]["mapping"].as_object().unwrap();
    let types = [
        "new_discussion",
        "updated_discussion",
        "deleted_discussion",
        "new_comment",
        "updated_comment",
        "deleted_comment",
        "updated_summary",
        "author_changed",
        "community_changed",
        "votes_changed",
        "membership_changed",
        "own_vote_changed",
        "read_state_changed",
        "follow_changed",
        "new_notification",
        "notifications_read",
        "notifications_withdrawn",
    ];
    assert_eq!(mapping.keys().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(types));
    let union: BTreeSet<_> =
        event["oneOf"].as_array().unwrap().iter().map(|one| one["$ref"].as_str().unwrap()).collect();
    assert_eq!(mapping.values().map(|one| one.as_str().unwrap()).collect::<BTreeSet<_>>(), union);
    for (tag, reference) in mapping {
        let schema = resolve(&document, reference);
        assert_eq!(schema["properties"]["type"]["enum"], json!([tag]));
        let required = schema["required"].as_array().unwrap();
        let optional: Vec<_> =
            schema["properties"].as_object().unwrap().keys().filter(|name| !required.contains(&json!(name))).collect();
        let shows_a_thing =
            ["new_discussion", "updated_discussion", "new_comment", "updated_comment", "updated_summary"]
                .contains(&tag.as_str());
        let of_older_releases = ["new_comment", "deleted_comment"].contains(&tag.as_str()).then_some("comment_version");
        let absent: Vec<_> = of_older_releases.into_iter().chain(shows_a_thing.then_some("deleted_at")).collect();
        assert_eq!(optional, absent, "{tag}");
        conforms(&document, event, &schema["example"], tag);
        // The document's example is a valid event for the code.
        let read: Event = serde_json::from_value(schema["example"].clone()).unwrap();
        assert_eq!(read.change.kind(), tag);
        assert_eq!(serde_json::to_value(read).unwrap(), schema["example"]);
    }
}

/// Compares every answer with the document's schema for its operation and status.
struct Checker {
    document: Value,
    seen: BTreeSet<String>,
}

impl Checker {
    async fn call(&mut self, client: &Client, method: Method, path: &str, body: Option<Value>) -> Value {
        let template = self.template(path);
        let request = client.request(method.clone(), path);
        let answer = client.send(if let Some(body) = &body { request.json(body) } else { request }).await;
        let of = format!("{} {template} {}", method.as_str().to_lowercase(), answer.status);
        let operation = &self.document["paths"][&template][method.as_str().to_lowercase()];
        if let Some(body) = body.as_ref().filter(|_| answer.status < 400) {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            conforms(&self.document, schema, body, &format!("{of}: its body"));
        }
        let response = &operation["responses"][answer.status.to_string()];
        assert!(response.is_object(), "{of} is not in the document: {}", answer.body);
        match response["content"]["application/json"].get("schema") {
            Some(schema) => conforms(&self.document, schema, &answer.body, &of),
            None => assert_eq!(answer.body, Value::Null, "{of}"),
        }
        self.seen.insert(of);
        answer.body
    }

    fn template(&self, path: &str) -> String {
        let path: Vec<_> = path.split('?').next().unwrap().split('/').collect();
        let fits = |template: &&String| {
            let parts: Vec<_> = template.split('/').collect();
            parts.len() == path.len()
                && parts.iter().zip(&path).all(|(part, given)| part == given || part.starts_with('{'))
        };
        self.document["paths"].as_object().unwrap().keys().find(fits).unwrap_or_else(|| panic!("{path:?}")).clone()
    }
}

#[tokio::test]
async fn every_answer_and_every_event_is_as_the_document_says() {
    let app = TestApp::start_with(|config| config.login.password_login = true).await;
    let (community, hidden) = (app.community("public").await, app.community("hidden").await);
    let article = app.article(&[community, hidden]).await;
    app.sql("update community_articles set is_pseudonymous = true where community_id = 2").await;
    let (ada, emmy) = (app.with_role("ada", community, "admin").await, app.member("emmy", community).await);
    let (anyone, outsider) = (app.anonymous(), app.client(app.user("grace").await));
    let mut check = Checker { document: router::document(), seen: BTreeSet::new() };
    let list = format!("/articles/{article}/discussions");
    let (get, post, patch, delete) = (Method::GET, Method::POST, Method::PATCH, Method::DELETE);
    let put = Method::PUT;

    let queue = check.call(&ada, post.clone(), "/register", None).await;
    for only in [json!({ "followed": true }), json!({ "types": ["nonsense"] })] {
        check.call(&ada, post.clone(), "/register", Some(json!({ "only": only }))).await;
    }
    let id = queue["queue_id"].as_str().unwrap().to_owned();
    let poll = |from: &Value, timeout: u8| format!("/poll?queue_id={id}&last_event_id={from}&timeout={timeout}");
    app.join(ada.user, hidden, "moderator").await;
    app.settled().await;
    for community in [community, hidden] {
        let new = json!({ "community_id": community, "topic": "Sample size", "text": "Enough?" });
        let discussion = check.call(&ada, post.clone(), &list, Some(new)).await;
        let path = format!("/discussions/{}", discussion["id"]);
        let comments = format!("{path}/comments");
        let comment = check.call(&ada, post.clone(), &comments, Some(json!({ "text": "Nice, @emmy and @ada" }))).await;
        let reply = json!({ "text": "Very", "parent_id": comment["id"] });
        let reply = check.call(&ada, post.clone(), &comments, Some(reply)).await;
        let reply = format!("/comments/{}", reply["id"]);
        check.call(&ada, patch.clone(), &reply, Some(json!({ "text": "Rather" }))).await;
        check.call(&ada, patch.clone(), &path, Some(json!({ "is_resolved": true, "topic": "Power" }))).await;
        for target in [&path, &reply] {
            for (client, value) in [(&emmy, 1), (&emmy, 2), (&ada, 1), (&outsider, 1)] {
                check.call(client, put.clone(), &format!("{target}/vote"), Some(json!({ "value": value }))).await;
            }
        }
        for client in [&emmy, &ada, &anyone, &outsider] {
            let id = reply.trim_start_matches("/comments/").parse::<i64>().unwrap();
            let marks = json!({ "discussion": true, "comment_ids": [id], "up_to_comment_id": id });
            for (call, body) in [("read", marks), ("read", json!({})), ("unread", json!({ "from_comment_id": id }))] {
                check.call(client, post.clone(), &format!("{path}/{call}"), Some(body)).await;
            }
            for level in ["follow", "mute", "loud"] {
                let said = json!({ "community_id": community, "level": level });
                check.call(client, put.clone(), &format!("/articles/{article}/follow"), Some(said)).await;
                check.call(client, put.clone(), &format!("{path}/follow"), Some(json!({ "level": level }))).await;
            }
            check.call(client, get.clone(), "/follows?limit=1", None).await;
            check.call(client, get.clone(), "/follows?limit=0", None).await;
            check.call(client, get.clone(), "/unread", None).await;
            check.call(client, get.clone(), "/unread?limit=0", None).await;
            check.call(client, get.clone(), "/notifications?unread=true", None).await;
            let members = format!("/communities/{community}/members?prefix=a");
            check.call(client, get.clone(), &members, None).await;
            check.call(client, get.clone(), &format!("{members}&article_id={article}"), None).await;
            check.call(client, post.clone(), "/notifications/read", Some(json!({ "ids": [1], "up_to_id": 1 }))).await;
            check.call(client, post.clone(), "/notifications/read", Some(json!({}))).await;
            let read = Some(json!({ "community_id": community }));
            check.call(client, post.clone(), &format!("/articles/{article}/read"), read).await;
        }
        for client in [&ada, &anyone] {
            for path in [&list, &path, &comments, &reply] {
                check.call(client, get.clone(), path, None).await;
            }
        }
        let read = "2025-08-09T12:34:56.123456Z";
        let outdated = json!({ "text": "Quite", "if_updated_at": read });
        assert_eq!(check.call(&ada, patch.clone(), &reply, Some(outdated)).await["current"]["text"], "Rather");
        let outdated = json!({ "is_resolved": false, "if_updated_at": read });
        assert_eq!(check.call(&ada, patch.clone(), &path, Some(outdated)).await["current"]["topic"], "Power");
        check.call(&ada, delete.clone(), &reply, None).await;
        for path in [&reply, &comments] {
            check.call(&ada, get.clone(), path, None).await;
        }
        let summary = format!("/articles/{article}/summary?community_id={community}");
        let revisions = format!("/articles/{article}/summary/revisions?community_id={community}");
        for client in [&ada, &emmy, &outsider, &anyone] {
            for text in ["In short", "In fewer words", ""] {
                check.call(client, put.clone(), &summary, Some(json!({ "text": text }))).await;
            }
            let outdated = json!({ "text": "Quite", "if_updated_at": read });
            check.call(client, put.clone(), &summary, Some(outdated)).await;
            for path in [&summary, &revisions, &format!("{revisions}&limit=1"), &format!("{revisions}&limit=0")] {
                check.call(client, get.clone(), path, None).await;
            }
        }
        for client in [&emmy, &anyone, &outsider, &ada] {
            check.call(client, delete.clone(), &summary, None).await;
        }
        for path in [&summary, &revisions] {
            check.call(&ada, get.clone(), path, None).await;
        }
        check.call(&ada, delete.clone(), &path, None).await;
        for path in [&list, &path] {
            check.call(&ada, get.clone(), path, None).await;
        }
        // Requests that are refused.
        check.call(&ada, patch.clone(), &path, Some(json!({ "topic": "Back" }))).await;
        check.call(&ada, patch.clone(), &reply, Some(json!({ "text": "Back" }))).await;
        check.call(&ada, post.clone(), &comments, Some(json!({ "text": "Back" }))).await;
        check.call(&ada, patch.clone(), &path, Some(json!({ "topic": "" }))).await;
        check.call(&ada, post.clone(), &list, Some(json!({}))).await;
        for client in [&anyone, &outsider, &emmy] {
            check.call(client, patch.clone(), &path, Some(json!({ "topic": "Mine" }))).await;
            check.call(client, delete.clone(), &reply, None).await;
        }
    }
    let new = json!({ "community_id": community, "topic": "Power", "text": "Enough?" });
    let emmys = check.call(&emmy, post.clone(), &list, Some(new)).await;
    check.call(&ada, put.clone(), &format!("/discussions/{}/vote", emmys["id"]), Some(json!({ "value": -1 }))).await;
    let read = Some(json!({ "discussion": true }));
    check.call(&ada, post.clone(), &format!("/discussions/{}/read", emmys["id"]), read).await;
    // She muted the article above, and would get no notification.
    let unmuted = json!({ "community_id": community, "level": "default" });
    ada.put(&format!("/articles/{article}/follow"), unmuted).await.expect(200);
    let adas = json!({ "community_id": community, "topic": "Mine", "text": "Enough?" });
    let adas = check.call(&ada, post.clone(), &list, Some(adas)).await;
    let remark = emmy.comment(&adas, "To be told").await;
    check.call(&ada, get.clone(), "/notifications", None).await;
    check.call(&ada, post.clone(), "/notifications/read", Some(json!({ "up_to_id": i64::MAX }))).await;
    emmy.delete(&format!("/comments/{}", remark["id"])).await.expect(204);
    app.join(ada.user, hidden, "member").await;
    app.leave(ada.user, hidden).await;
    app.settled().await;

    let answer = check.call(&ada, get.clone(), &poll(&queue["last_event_id"], 0), None).await;
    let events = answer["events"].as_array().unwrap();
    let types: BTreeSet<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types.len(), 15, "{types:?}");
    for event in events {
        let name: String =
            event["type"].as_str().unwrap().split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        let schema = check.document["components"]["schemas"][name + "Event"].clone();
        conforms(&check.document, &schema, event, "an event");
    }
    check.call(&ada, get.clone(), &poll(&answer["last_event_id"], 0), None).await;
    check.call(&ada, get.clone(), &poll(&json!(i64::MAX), 0), None).await;
    check.call(&ada, get.clone(), &poll(&json!(-1), 0), None).await;
    check.call(&emmy, get.clone(), &poll(&json!(0), 0), None).await;
    check.call(&anyone, get.clone(), &poll(&json!(0), 0), None).await;
    check.call(&ada, post.clone(), "/heartbeat", Some(json!({ "queue_id": id }))).await;
    check.call(&emmy, post.clone(), "/heartbeat", Some(json!({ "queue_id": id }))).await;
    check.call(&outsider, post.clone(), "/register", None).await;
    check.call(&outsider, post.clone(), "/register", Some(json!({ "watch": [community] }))).await;
    let watch = format!("/queues/{id}/watch");
    check.call(&ada, put.clone(), &watch, Some(json!({ "community_ids": [community] }))).await;
    check.call(&emmy, put.clone(), &watch, Some(json!({ "community_ids": [community] }))).await;
    app.sql(&format!("update communities set kind = 'open' where id = {community}")).await;
    app.settled().await;
    let changed = check.call(&ada, get.clone(), &poll(&answer["last_event_id"], 0), None).await;
    assert!(changed.to_string().contains("community_changed"), "{changed}");
    check.call(&emmy, post.clone(), &format!("/queues/{id}/close"), None).await;
    check.call(&ada, post.clone(), &format!("/queues/{id}/close"), None).await;
    let second = check.call(&ada, post.clone(), "/register", None).await;
    check.call(&ada, delete.clone(), &format!("/queues/{}", second["queue_id"].as_str().unwrap()), None).await;
    check.call(&ada, get.clone(), "/articles/x/discussions?limit=0", None).await;
    check.call(&ada, post.clone(), "/session", None).await;
    check.call(&ada, get.clone(), "/session", None).await;
    login::user(&app, "emil").await;
    let credentials = json!({ "username": "emil", "password": login::PASSWORD });
    let tokens = check.call(&anyone, post.clone(), "/auth/login", Some(credentials)).await;
    for refresh in [&tokens["refresh"], &json!("nonsense")] {
        check.call(&anyone, post.clone(), "/auth/refresh", Some(json!({ "refresh": refresh }))).await;
    }
    check.call(&anyone, post.clone(), "/auth/logout", Some(json!({ "refresh": tokens["refresh"] }))).await;
    let wrong = json!({ "username": "emil", "password": "wrong" });
    check.call(&anyone, post.clone(), "/auth/login", Some(wrong)).await;
    check.call(&anyone, get, "/session", None).await;
    check.call(&anyone, delete, "/session", None).await;

    // Every operation has succeeded at least once.
    for (path, method, operation) in operations(&router::document()) {
        let success =
            operation["responses"].as_object().unwrap().keys().find(|status| status.starts_with('2')).unwrap();
        let of = format!("{method} {path} {success}");
        assert!(check.seen.contains(&of), "{of} was not tried");
    }
}

#[tokio::test]
async fn the_page_of_the_document_loads_nothing_from_elsewhere() {
    let app = TestApp::start().await;
    let anyone = app.anonymous();
    let text = async |path: &str| {
        let response = anyone.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.unwrap()
    };
    let page = text("/docs/").await;
    assert_eq!(text("/docs").await, page, "without the slash it leads there");
    assert!(page.contains("swagger-ui"));
    let mut loaded = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        loaded.extend(page.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    assert!(
        loaded.iter().any(|file| file.ends_with(".js")) && loaded.iter().any(|file| file.ends_with(".css")),
        "{page}"
    );
    assert!(!page.contains("//"), "an address in the page: {page}");
    let mut starts = false;
    for file in loaded {
        let content = text(&format!("/docs/{}", file.trim_start_matches("./"))).await;
        assert!(!content.contains("@import"), "{file}");
        if file.ends_with("initializer.js") {
            starts = true;
            assert!(content.contains("/openapi.json"), "{content}");
            assert!(!content.contains("http://") && !content.contains("https://"), "{content}");
        }
    }
    assert!(starts, "the page is started for our document");
}
