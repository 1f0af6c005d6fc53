//! Many clients that connect and send nothing: parked polls stay, and new ones get in.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::app::{Answer, Client, PATIENCE, Queue, SECRET, TestApp};

/// The program with a low limit of open files.
struct Program {
    process: tokio::process::Child,
    addr: SocketAddr,
    metrics_addr: SocketAddr,
}

impl Program {
    /// Starts it with these limits of open files.
    async fn start(database_url: &str, soft: u64, hard: u64) -> Self {
        let command = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" serve");
        let mut process = tokio::process::Command::new("bash")
            .args(["-c", &command, env!("CARGO_BIN_EXE_discussions")])
            .env_clear()
            .envs([("DATABASE_URL", database_url), ("JWT_SECRET", SECRET), ("LOG_FORMAT", "json")])
            .envs([("BIND_ADDR", "127.0.0.1:0"), ("METRICS_ADDR", "127.0.0.1:0"), ("DATABASE_CONNECTIONS", "4")])
            .envs(["WRITES_PER_MINUTE", "REGISTERS_PER_MINUTE", "ANONYMOUS_READS_PER_MINUTE"].map(|name| (name, "0")))
            // Only the pressure closes connections in this test.
            .envs([("FIRST_REQUEST_SECONDS", "600"), ("IDLE_CONNECTION_SECONDS", "600")])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let raised = says(&mut lines, "raised the limit of open files").await;
        assert_eq!((&raised["before"], &raised["open_files"]), (&json!(soft), &json!(hard)));
        let serving = says(&mut lines, "serving").await;
        // The program could not go on if nobody read its log.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let addr = |name: &str| serving[name].as_str().unwrap().parse().unwrap();
        Self { addr: addr("addr"), metrics_addr: addr("metrics"), process }
    }

    async fn metric(&self, name: &str) -> u64 {
        let text = reqwest::get(format!("http://{}/metrics", self.metrics_addr)).await.unwrap().text().await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().unwrap()
    }
}

impl Program {
    /// Waits until so many connections had to go that everybody who connected was accepted.
    async fn everyone_is_accepted(&self, evicted: u64) {
        let accepted = async {
            while self.metric("discussions_evicted_connections_total").await < evicted {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, accepted).await.expect("strangers make room for strangers");
    }
}

async fn says(lines: &mut tokio::io::Lines<BufReader<tokio::process::ChildStderr>>, message: &str) -> Value {
    let said = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the program runs");
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            if line["message"].as_str().is_some_and(|said| said.contains(message)) {
                return line;
            }
        }
    };
    timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("it does not say {message:?} in time"))
}

/// Connections that send nothing.
async fn strangers(addr: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..count {
        open.push(timeout(PATIENCE, TcpStream::connect(addr)).await.expect("the kernel takes it").unwrap());
    }
    open
}

/// Sends a request on a connection and returns the status of the answer. None if the connection is closed.
async fn status_on(stream: &mut TcpStream, target: &str, token: &str) -> Option<u16> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = vec![0; 16 * 1024];
    let length = timeout(PATIENCE, stream.read(&mut answer)).await.expect("an answer comes in time").ok()?;
    let answer = std::str::from_utf8(&answer[..length]).unwrap();
    answer.split(' ').nth(1).map(|status| status.parse().unwrap())
}

/// People in a community, the program on the same database, and the polls that each of them has parked there.
struct Story {
    app: TestApp,
    program: Program,
    discussion: Value,
    clients: Vec<Client>,
    parked: Vec<JoinHandle<Answer>>,
}

impl Story {
    async fn new(open_files: u64, people: usize, polls_each: usize) -> Self {
        rlimit::increase_nofile_limit(u64::MAX).unwrap();
        let app = TestApp::start().await;
        let community = app.community("public").await;
        let article = app.article(&[community]).await;
        let discussion = app.member("ada", community).await.discussion(article, community, "Strangers").await;
        let mut users = Vec::new();
        for person in 0..people {
            users.push(app.member(&format!("person {person}"), community).await.user);
        }
        app.settled().await;
        let program = Program::start(&app.database.url, open_files / 2, open_files).await;
        let clients: Vec<Client> = users.into_iter().map(|user| Client::at(program.addr, user)).collect();
        let mut parked = Vec::new();
        for client in &clients {
            for _ in 0..polls_each {
                let queue = client.register().await;
                parked.push(tokio::spawn(async move { queue.poll_raw(55.0).await }));
            }
        }
        let story = Self { app, program, discussion, clients, parked };
        story.all_are_parked().await;
        story
    }

    async fn all_are_parked(&self) {
        let parked = async {
            while self.program.metric("discussions_parked_polls").await < self.parked.len() as u64 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, parked).await.expect("all polls are parked");
    }

    /// A poll on a new connection is answered, and every parked poll gets the next event.
    async fn everybody_is_served(self) {
        let (client, last) = (&self.clients[0], self.clients.len() - 1);
        let fresh = Client::at(self.program.addr, client.user);
        fresh.register().await.poll_raw(0.0).await.expect(200);
        assert!(self.parked.iter().all(|poll| !poll.is_finished()), "no parked poll was closed");
        Client::at(self.program.addr, self.clients[last].user).comment(&self.discussion, "Still there?").await;
        for poll in self.parked {
            let answer = timeout(PATIENCE, poll).await.expect("the event comes").unwrap().expect(200);
            assert_eq!(answer["events"][0]["text"], "Still there?");
        }
        drop(self.app);
    }
}

#[tokio::test]
async fn parked_polls_outlive_1500_strangers_and_a_new_poll_gets_in() {
    let story = Story::new(400, 4, 30).await;
    let strangers = strangers(story.program.addr, 1_500).await;
    story.program.everyone_is_accepted(1_500 - 400).await;
    story.everybody_is_served().await;
    drop(strangers);
}

#[tokio::test]
async fn where_accepting_fails_strangers_go_too() {
    let story = Story::new(400, 1, 20).await;
    // Fewer files than the program knows of: `accept` itself fails.
    let process = story.program.process.id().unwrap();
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count() as u64;
    rlimit::prlimit(process as i32, rlimit::Resource::NOFILE, Some((open + 20, 400)), None).unwrap();
    let strangers = strangers(story.program.addr, 200).await;
    story.program.everyone_is_accepted(200 - 40).await;
    story.everybody_is_served().await;
    drop(strangers);
}

#[tokio::test]
async fn at_the_limit_strangers_go_first_then_idle_connections_and_no_request() {
    for direct_polls in [true, false] {
        let app = TestApp::start_with(|config| {
            config.direct_polls = direct_polls;
            config.max_connections = Some(6);
        })
        .await;
        let community = app.community("public").await;
        app.article(&[community]).await;
        let ada = app.member("ada", community).await;
        app.settled().await;
        let token = ada.token.clone().unwrap();
        let mut queues = Vec::new();
        for _ in 0..6 {
            queues.push(ada.register().await);
        }
        let target = |queue: &Queue, timeout| {
            format!("/poll?queue_id={}&last_event_id={}&timeout={timeout}", queue.id, queue.cursor)
        };
        let mut quiet = TcpStream::connect(app.addr).await.unwrap();
        assert_eq!(status_on(&mut quiet, &target(&queues[0], 0), &token).await, Some(200));
        let mut parked = Vec::new();
        for queue in &queues[..3] {
            let (mut stream, target, token) =
                (TcpStream::connect(app.addr).await.unwrap(), target(queue, 50), token.clone());
            parked.push(tokio::spawn(async move { status_on(&mut stream, &target, &token).await }));
        }
        app.until(|| app.state.realtime.hub.stats().parked == 3).await;
        let strangers = strangers(app.addr, 40).await;
        let mut last = TcpStream::connect(app.addr).await.unwrap();
        assert_eq!(status_on(&mut last, &target(&queues[3], 0), &token).await, Some(200));
        // The connection between two requests is older than all strangers, and is still there.
        assert_eq!(status_on(&mut quiet, &target(&queues[3], 0), &token).await, Some(200));
        assert_eq!(app.state.realtime.hub.stats().parked, 3);

        // Where every connection has a request, a new one waits until one of them has no request any more.
        let mut more = Vec::new();
        let new = TcpStream::connect(app.addr).await.unwrap();
        for (mut stream, queue) in [last, quiet, new].into_iter().zip(&queues[3..]) {
            let (target, token) = (target(queue, 50), token.clone());
            more.push(tokio::spawn(async move { status_on(&mut stream, &target, &token).await }));
        }
        app.until(|| app.state.realtime.hub.stats().parked == 6).await;
        let waiting = tokio::spawn({
            let (addr, target, token) = (app.addr, target(&queues[0], 0), token.clone());
            async move { status_on(&mut TcpStream::connect(addr).await.unwrap(), &target, &token).await }
        });
        app.state.realtime.hub.release();
        for poll in parked.into_iter().chain(more).chain([waiting]) {
            assert_eq!(timeout(PATIENCE, poll).await.unwrap().unwrap(), Some(200));
        }
        drop(strangers);
    }
}
