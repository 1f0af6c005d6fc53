//! Checks that README.md is correct.

use std::{collections::BTreeMap, path::Path, process::Command as Program};

use clap::{Args, Command};
use discussions::{config::Config, demo};
use serde_json::Value;

use crate::app::TestApp;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The text under a heading.
fn section(heading: &str) -> String {
    let readme = readme();
    let (_, rest) = readme.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    rest.split("\n## ").next().unwrap().to_owned()
}

/// The rows of a section's tables, cells trimmed.
fn rows(section: &str) -> Vec<Vec<String>> {
    let rows = section.lines().filter(|line| line.starts_with('|') && !line.starts_with("| ---"));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    rows.map(cells).collect()
}

/// A part of the tour: a script, and the answers shown below it.
struct Step {
    script: String,
    shown: Vec<Value>,
}

fn steps(tour: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut fence: Option<(&str, String)> = None;
    for line in tour.lines() {
        match (&mut fence, line.strip_prefix("```")) {
            (None, Some(kind)) => fence = Some((kind, String::new())),
            (None, None) => {}
            (Some((kind, text)), Some(_)) => {
                let text = std::mem::take(text);
                match *kind {
                    "sh" => steps.push(Step { script: text, shown: Vec::new() }),
                    "json" => steps.last_mut().unwrap().shown.push(serde_json::from_str(&text).unwrap()),
                    other => panic!("what is {other}?"),
                }
                fence = None;
            }
            (Some((_, text)), None) => *text += &format!("{line}\n"),
        }
    }
    steps
}

/// More than one write of the tour makes, for others and for the writer's own tabs.
const EVENTS_OF_A_WRITE: u64 = 3;

/// Whether `got` is the shown answer, except for random values and times.
fn as_shown(shown: &Value, got: &Value) -> bool {
    match (shown, got) {
        (Value::Object(shown), Value::Object(got)) => {
            let pseudonym = shown.get("id").is_some_and(Value::is_null) && got.get("id").is_some_and(Value::is_null);
            let of_chance = |name: &str| {
                matches!(name, "queue_id" | "created_at" | "updated_at" | "timestamp")
                    || (pseudonym && name == "username")
            };
            shown.keys().eq(got.keys())
                && shown.iter().all(|(name, value)| match (value, &got[name]) {
                    (Value::String(_), Value::String(_)) if of_chance(name) => true,
                    // A moment after a write, the relay may still have to number its events. A poll that comes after
                    // them passes those that are for others.
                    (Value::Number(shown), Value::Number(got)) if name == "last_event_id" => {
                        shown.as_u64().unwrap().abs_diff(got.as_u64().unwrap()) <= EVENTS_OF_A_WRITE
                    }
                    (value, got) => as_shown(value, got),
                })
        }
        (Value::Array(shown), Value::Array(got)) => {
            shown.len() == got.len() && shown.iter().zip(got).all(|(shown, got)| as_shown(shown, got))
        }
        _ => shown == got,
    }
}

#[test]
fn an_answer_may_differ_in_what_is_left_to_chance() {
    let answer = |text: &str, last_event_id: u64| serde_json::json!({ "events": [{ "text": text }], "last_event_id": last_event_id });
    // The poll waited; it came late; a GET came before the relay.
    for last_event_id in [13, 14, 12] {
        assert!(as_shown(&answer("Me too!", 13), &answer("Me too!", last_event_id)), "{last_event_id}");
    }
    assert!(!as_shown(&answer("Me too!", 13), &answer("Me too!", 17)));
    assert!(!as_shown(&answer("Me too!", 13), &answer("Me", 13)));
}

#[tokio::test]
async fn the_tour_works_as_it_stands() {
    let app = TestApp::start_with(|config| config.demo = true).await;
    demo::store::seed(&app.pool).await.unwrap();
    app.settled().await;
    let steps = steps(&section("A five-minute tour"));
    assert!(steps.len() >= 6 && steps.iter().map(|step| step.shown.len()).sum::<usize>() >= 5);

    let scripts: Vec<_> = steps.iter().map(|step| step.script.as_str()).collect();
    let tour = scripts.join("echo '=== next'\n");
    assert!(tour.contains("http://127.0.0.1:8000"));
    let tour = tour.replace("http://127.0.0.1:8000", &format!("http://{}", app.addr));
    // The time limit ends a tour that waits for a missing event, because a poll would wait for 55 s.
    let output = tokio::task::spawn_blocking(move || {
        Program::new("timeout").args(["40", "bash", "-euo", "pipefail", "-c", &tour]).output().unwrap()
    });
    let output = output.await.unwrap();
    let (said, complaints) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{}: {said}\n{complaints}", output.status);

    let answers: Vec<&str> = said.split("=== next").collect();
    assert_eq!(answers.len(), steps.len());
    let answers: Vec<Vec<Value>> = (answers.iter())
        .map(|answers| serde_json::Deserializer::from_str(answers).into_iter().collect::<Result<_, _>>().unwrap())
        .collect();
    for (step, answers) in steps.iter().zip(&answers) {
        for shown in &step.shown {
            let found = answers.iter().any(|answer| as_shown(shown, answer));
            // On few lines, so that a long log keeps it.
            assert!(found, "{}\nanswered {}, and not\n{shown}", step.script, Value::from(answers.clone()));
        }
        for answer in answers {
            let expected = answer.get("code").is_none() || step.shown.iter().any(|shown| shown.get("code").is_some());
            assert!(expected, "{}\nanswered {answer}", step.script);
        }
    }
    // The README says more than it shows: a repeated request has the same answer, and the last call closes the queue.
    let twice = answers.iter().find(|answers| answers.len() == 2 && answers[0]["topic"].is_string()).unwrap();
    assert_eq!(twice[0], twice[1]);
    assert_eq!(answers.last().unwrap(), &[Value::from(204)]);
    // The queue for what Grace follows is left.
    assert_eq!(app.state.realtime.hub.stats().queues, 1);
}

#[test]
fn the_table_has_every_setting_with_its_default() {
    let command = Config::augment_args(Command::new("serve"));
    let mut expected: BTreeMap<String, String> = (command.get_arguments())
        .map(|argument| {
            let name = argument.get_env().unwrap().to_str().unwrap().to_owned();
            let default: Vec<_> = argument.get_default_values().iter().map(|value| value.to_str().unwrap()).collect();
            (name, default.join(","))
        })
        .collect();
    // These belong to the command line, not to the server.
    expected.extend(
        [("LOG_FORMAT", "text"), ("RUST_LOG", "info")].map(|(name, default)| (name.to_owned(), default.to_owned())),
    );
    let mut table = BTreeMap::new();
    for row in rows(&section("Settings")).split_off(1) {
        assert!(!row[2].is_empty(), "{row:?}");
        assert_eq!(table.insert(row[0].clone(), row[1].clone()), None, "{row:?}");
    }
    assert_eq!(table, expected);
}

#[test]
fn the_list_of_settings_to_copy_has_the_same_defaults() {
    let example = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".env.example")).unwrap();
    let lines = example.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    let lines: BTreeMap<_, _> =
        lines.filter(|(name, _)| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_uppercase())).collect();
    for row in rows(&section("Settings")).split_off(1) {
        let shown = lines.get(row[0].as_str()).unwrap_or_else(|| panic!("{} is not in .env.example", row[0]));
        // A setting without a default has an example there.
        assert!(row[1].is_empty() || row[1] == *shown, "{}: {shown}", row[0]);
    }
}

#[test]
fn the_tour_of_the_source_names_every_folder() {
    let tour = section("A tour of the source");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named: Vec<String> =
        rows(&tour).into_iter().flat_map(|row| row[0].split(", ").map(str::to_owned).collect::<Vec<_>>()).collect();
    for parent in ["src", "crates"] {
        for entry in std::fs::read_dir(root.join(parent)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                let folder = format!("{parent}/{}/", entry.file_name().to_str().unwrap());
                assert!(named.contains(&folder), "{folder}");
            }
        }
    }
    for path in named.iter().filter(|path| !path.is_empty() && !path.contains('*')) {
        assert!(root.join(path).is_dir(), "{path} is not there");
    }
}

/// All documents that people read, from the repository's root.
fn documents() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let in_docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let in_docs =
        in_docs.filter_map(|name| Some(format!("docs/{}", name.to_str().filter(|name| name.ends_with(".md"))?)));
    let top = ["README.md", "CONTRIBUTING.md", "frontend-client/README.md"];
    top.into_iter().map(str::to_owned).chain(in_docs).collect()
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in documents() {
        let text = std::fs::read_to_string(root.join(&name)).unwrap();
        let folder = root.join(&name).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("https://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { root.join(&name) } else { folder.join(path) };
            assert!(target.exists(), "{name}: {link} is not there");
            if !heading.is_empty() {
                let there = std::fs::read_to_string(&target).unwrap();
                assert!(
                    there.lines().any(|line| line.starts_with('#') && anchor(line) == heading),
                    "{name}: {link} has no such heading"
                );
            }
        }
    }
}
