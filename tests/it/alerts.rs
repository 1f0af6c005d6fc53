//! docs/alerts.yml and docs/grafana.json: they use metrics that exist, and Prometheus sees a node under abuse.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use discussions::metrics;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::app::TestApp;

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// The metrics that a text names, without what Prometheus adds to the names of histograms.
fn named(text: &str) -> BTreeSet<&str> {
    let is_histogram = |name: &str| metrics::ALL.iter().any(|metric| metric.name == name && metric.kind == "Histogram");
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let without_suffix = |word| {
        let mut bare = ["_bucket", "_count", "_sum"].iter().filter_map(|suffix| str::strip_suffix(word, suffix));
        bare.find(|name| is_histogram(name)).unwrap_or(word)
    };
    words.filter(|word| word.starts_with("discussions_")).map(without_suffix).collect()
}

#[tokio::test]
async fn what_the_rules_and_the_dashboard_name_is_measured_and_explained() {
    let app = TestApp::start().await;
    // A histogram is there from its first value on.
    let community = app.community("public").await;
    let article = app.article(&[community]).await;
    app.member("ada", community).await.discussion(article, community, "Power").await;
    app.settled().await;
    let served = reqwest::get(format!("http://{}/metrics", app.metrics_addr)).await.unwrap().text().await.unwrap();
    let known: BTreeSet<&str> = metrics::ALL.iter().map(|metric| metric.name).collect();
    for file in ["alerts.yml", "grafana.json"] {
        let text = document(file);
        let named = named(&text);
        assert!(named.len() > 5, "{file}");
        assert_eq!(named.difference(&known).collect::<Vec<_>>(), Vec::<&&str>::new(), "{file}");
        for name in named {
            assert!(served.contains(&format!("# HELP {name} ")), "{file}: {name} is not explained");
            assert!(served.lines().any(|line| line.starts_with(name)), "{file}: {name} is not served");
        }
    }
    let dashboard: Value = serde_json::from_str(&document("grafana.json")).unwrap();
    assert_eq!(named(&dashboard["panels"].to_string()), known, "the dashboard shows all metrics");
}

#[test]
fn every_alert_is_explained_in_the_documentation_and_tested() {
    let alerts = |text: &str| -> BTreeSet<String> {
        let names = text.split(|letter: char| !letter.is_ascii_alphanumeric());
        names
            .filter(|word| word.starts_with("Discussions") && word.len() > "Discussions".len())
            .map(str::to_owned)
            .collect()
    };
    let rules = document("alerts.yml");
    let defined: BTreeSet<String> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect();
    assert!(defined.len() > 5);
    assert_eq!(alerts(&document("operations.md")), defined);
    let tests = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/alerts.yml")).unwrap();
    assert_eq!(alerts(&tests), defined);
    assert!(alerts(&document("grafana.json")).is_subset(&defined));
}

/// A Prometheus that scrapes one node, with the rules of the documentation in a hurry.
struct Prometheus {
    child: Child,
    folder: PathBuf,
    url: String,
}

impl Prometheus {
    /// `None` where it is not installed.
    fn start(app: &TestApp) -> Option<Self> {
        Command::new("prometheus").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
        let folder = std::env::temp_dir().join(format!("prometheus-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("alerts.yml"), in_a_hurry(&document("alerts.yml"))).unwrap();
        let settings = json!({
            "global": { "scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms" },
            "rule_files": ["alerts.yml"],
            "scrape_configs": [{
                "job_name": "discussions",
                "static_configs": [{ "targets": [app.metrics_addr.to_string()] }],
            }],
        });
        // JSON is YAML.
        fs::write(folder.join("prometheus.yml"), settings.to_string()).unwrap();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        Some(Self { child, folder, url: format!("http://{address}") })
    }

    /// The alerts and their states, as `DiscussionsManyRefusals{writes} pending`.
    async fn alerts(&self) -> BTreeSet<String> {
        let Ok(answer) = reqwest::get(format!("{}/api/v1/alerts", self.url)).await else { return BTreeSet::new() };
        let answer: Value = answer.json().await.unwrap_or_default();
        let text =
            |alert: &Value, pointer: &str| alert.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
        let alerts = answer["data"]["alerts"].as_array().into_iter().flatten();
        alerts
            .map(|alert| {
                let (name, limit) = (text(alert, "/labels/alertname"), text(alert, "/labels/limit"));
                format!("{name}{{{limit}}} {}", text(alert, "/state"))
            })
            .collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The same rules with seconds in place of minutes: 5m become 5s, and 30s become 3s.
fn in_a_hurry(rules: &str) -> String {
    let mut hurried: String = rules.replace("30s", "3s");
    for minutes in [1, 5, 10] {
        for form in ["[{}]", "for: {}\n", "offset {})"] {
            let [slow, fast] = ["m", "s"].map(|unit| form.replace("{}", &format!("{minutes}{unit}")));
            hurried = hurried.replace(&slow, &fast);
        }
    }
    hurried
}

/// The refusals of a member who writes without a pause make the alert of that limit fire, and no other.
#[tokio::test]
async fn prometheus_sees_a_member_who_writes_without_a_pause() {
    let app = TestApp::start_with(|config| config.limits.writes_per_minute = 1).await;
    let Some(prometheus) = Prometheus::start(&app) else {
        eprintln!("SKIPPED: prometheus is not installed (scripts/setup.sh test-rust installs it)");
        return;
    };
    let community = app.community("public").await;
    let ada = app.member("ada", community).await;
    let writing = tokio::spawn(async move {
        loop {
            ada.delete("/comments/1").await;
            sleep(Duration::from_millis(20)).await;
        }
    });
    let mut seen = Vec::new();
    let watching = async {
        while !seen.iter().any(|alerts: &BTreeSet<String>| alerts.iter().any(|alert| alert.ends_with(" firing"))) {
            let alerts = prometheus.alerts().await;
            if seen.last() != Some(&alerts) {
                seen.push(alerts);
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let is_seen = timeout(Duration::from_secs(60), watching).await;
    let log = fs::read_to_string(prometheus.folder.join("log")).unwrap_or_default();
    is_seen.unwrap_or_else(|_| panic!("no alert fires: {seen:?}\n{log}"));
    let states: Vec<&str> = seen.iter().flatten().map(String::as_str).collect();
    assert_eq!(states, ["DiscussionsManyRefusals{writes} pending", "DiscussionsManyRefusals{writes} firing"], "{log}");

    // It ends with its cause.
    writing.abort();
    let ending = async {
        while !prometheus.alerts().await.is_empty() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), ending).await.expect("the alert ends");
}
