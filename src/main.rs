//! The command line.

use std::io::Write;

use anyhow::Context;
use clap::{Parser, Subcommand};
use discussions::{
    app,
    auth::jwt,
    config::{Config, LogFormat, SigningConfig},
    db,
    django::{import, views},
    events::history,
    ids::{CommunityId, UserId},
    router, telemetry,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Real-time discussions for SciCommons
#[derive(Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines look
    #[arg(long, env = "LOG_FORMAT", default_value = "text", global = true)]
    log_format: LogFormat,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API (brings the schema up to date first)
    Serve(Box<Config>),
    /// Bring the schema up to date
    Migrate(Database),
    /// Continue the numbering from a new base, after an older state of the database was restored. Clients load their pages again
    Leap(Database),
    /// Bring Django's discussions in, and all that they refer to. Safe to repeat
    ImportDjango(Box<import::Options>),
    /// Make views for Django's pages that count and list discussions, where Django and this server share a database
    DjangoViews(DjangoViews),
    /// Fill an empty database with a small demo
    #[cfg(feature = "demo")]
    Seed(Database),
    /// Print the OpenAPI document
    Openapi,
    /// Print a token for trying things out, signed with JWT_SECRET
    Token(Token),
    /// Ask a server whether it is ready: exit status 0 if so
    Health(Health),
}

#[derive(clap::Args)]
struct Database {
    /// PostgreSQL, as postgres://user:password@host:port/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: SecretString,
}

#[derive(clap::Args)]
struct DjangoViews {
    #[command(flatten)]
    database: Database,
    /// The schema of the views
    #[arg(long, default_value = "django_views")]
    schema: String,
    /// Drop the views instead
    #[arg(long)]
    drop: bool,
}

#[derive(clap::Args)]
struct Token {
    /// The user it is for
    #[arg(long)]
    user: UserId,
    /// Limit it to these communities, separated by commas
    #[arg(long, value_delimiter = ',')]
    communities: Option<Vec<CommunityId>>,
    /// How long it is valid, in seconds
    #[arg(long, default_value_t = 3600)]
    ttl_seconds: i64,
    /// How it is signed
    #[command(flatten)]
    signing: SigningConfig,
}

#[derive(clap::Args)]
struct Health {
    /// The address at which the server accepts requests
    #[arg(long, env = "BIND_ADDR", default_value = "127.0.0.1:8000")]
    bind_addr: std::net::SocketAddr,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let mut runtime = Builder::new_multi_thread();
    let mut requests = None;
    if let Command::Serve(config) = &cli.command {
        // Deliveries have their own threads: they cost least on few threads, while other requests need all cores.
        let half = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
        runtime.worker_threads(config.poll_threads.map_or(half, |threads| threads as usize)).thread_name("polls");
        let threads = Builder::new_multi_thread().thread_name("requests").enable_all().build();
        requests = Some(threads.context("cannot start threads")?);
    }
    let runtime = runtime.enable_all().build().context("cannot start threads")?;
    runtime.block_on(run(cli, requests.as_ref().map(Runtime::handle)))
}

async fn run(cli: Cli, requests: Option<&Handle>) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(config) => {
            telemetry::log(cli.log_format);
            serve(*config, requests).await
        }
        Command::Migrate(database) => {
            telemetry::log(cli.log_format);
            db::migrate(&database.database_url.expose_secret().parse().context("DATABASE_URL")?)
                .await
                .context("cannot migrate the database at DATABASE_URL")
        }
        Command::Leap(database) => {
            telemetry::log(cli.log_format);
            leap(&connect(&database).await?).await
        }
        Command::ImportDjango(options) => {
            telemetry::log(cli.log_format);
            match import::run(&options).await? {
                Some(code) => std::process::exit(code),
                None => Ok(()),
            }
        }
        Command::DjangoViews(args) => {
            telemetry::log(cli.log_format);
            django_views(args).await
        }
        #[cfg(feature = "demo")]
        Command::Seed(database) => {
            telemetry::log(cli.log_format);
            discussions::demo::store::seed(&connect(&database).await?).await
        }
        Command::Openapi => {
            let document = serde_json::to_string_pretty(&router::document())?;
            Ok(writeln!(std::io::stdout(), "{document}")?)
        }
        Command::Token(token) => {
            let token =
                jwt::mint(jwt::Signing::try_from(&token.signing)?, token.user, token.communities, token.ttl_seconds)?;
            Ok(writeln!(std::io::stdout(), "{token}")?)
        }
        Command::Health(health) => ask_health(health).await,
    }
}

async fn serve(mut config: Config, requests: Option<&Handle>) -> anyhow::Result<()> {
    // Compose files and shells produce empty variables. An empty one counts as not set.
    config.redis_url = config.redis_url.filter(|url| !url.expose_secret().is_empty());
    let mut signals = Signals::new()?;
    let starting = app::start(config, requests.cloned().unwrap_or_else(Handle::current));
    let running = tokio::select! {
        running = starting => running?,
        name = signals.next() => {
            tracing::info!(signal = name, "asked to end before the start was over: ending at once");
            // Returning would wait for threads, which may hang in a look-up of a name.
            std::process::exit(0);
        }
    };
    tracing::info!(addr = %running.addr, metrics = %running.metrics_addr, "serving");
    tokio::select! {
        name = signals.next() => tracing::info!(signal = name, "asked to end: answering the parked polls"),
        () = running.state.shutdown.cancelled() => {}
    }
    running.shutdown();
    tokio::select! {
        ended = running.ended() => ended,
        name = signals.next() => {
            tracing::warn!(signal = name, "asked to end again: ending at once, with requests under way");
            std::process::exit(1);
        }
    }
}

/// SIGTERM and SIGINT, which ask this process to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one and returns its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

async fn connect(database: &Database) -> anyhow::Result<sqlx::PgPool> {
    sqlx::PgPool::connect(database.database_url.expose_secret())
        .await
        .context("cannot reach PostgreSQL at DATABASE_URL")
}

/// Leaps, and prints the head before and after it.
async fn leap(pool: &sqlx::PgPool) -> anyhow::Result<()> {
    let too_old = "cannot leap: is the schema that of this program (`discussions migrate`)?";
    let old = history::position(pool).await.context(too_old)?;
    let base = history::leap(pool).await.context(too_old)?;
    let new = history::position(pool).await?;
    writeln!(std::io::stdout(), "old head {}, new head {}, new base {base}", old.head, new.head)?;
    Ok(())
}

/// Makes or drops the views, and prints what to do next.
async fn django_views(args: DjangoViews) -> anyhow::Result<()> {
    let mut connection = connect(&args.database).await?.acquire().await?.detach();
    let (mut out, schema) = (std::io::stdout(), args.schema);
    if args.drop {
        let had_any = views::drop(&mut connection, &schema).await?;
        writeln!(out, "{}", if had_any { "The views are gone." } else { "There were no views." })?;
        return Ok(());
    }
    let made = views::make(&mut connection, &schema).await?;
    writeln!(out, "Made in schema {schema}: {}", made.join(", "))?;
    writeln!(out, "Next: alter role <Django's role> set search_path = {schema}, public; and start Django anew.")?;
    writeln!(
        out,
        "Back: alter role <Django's role> reset search_path; start Django anew; discussions django-views --drop"
    )?;
    Ok(())
}

async fn ask_health(health: Health) -> anyhow::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(health.bind_addr).await.context("nobody listens there")?;
    stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "not ready: {}", answer.lines().next().unwrap_or_default());
    Ok(())
}
