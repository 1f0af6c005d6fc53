//! `discussions import-django`: brings Django's rows in.

use std::{path::PathBuf, str::FromStr, time::Instant};

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};

use super::{
    follow, merge, mirror,
    report::{self, Report},
    source::Source,
    staging,
};
use crate::{db, events};

/// The key of the advisory lock of an import. Advisory locks are per database.
const LOCK: i64 = 0x64_6a_61_6e_67_6f;

/// What to import, and how.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Django's PostgreSQL, as postgres://user:password@host:port/database. It is only read. Leave it out where it is that of
    /// DATABASE_URL
    #[arg(long, env = "DJANGO_DATABASE_URL", hide_env_values = true, required_unless_present_any = ["follow", "unfollow", "status"])]
    pub from: Option<SecretString>,
    /// PostgreSQL, as postgres://user:password@host:port/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: SecretString,
    /// The address before the names of users' pictures. Without it that of the import before counts; there is none at first
    #[arg(long, env = "DJANGO_MEDIA_URL")]
    pub media_url: Option<String>,
    /// Write the report as JSON into this file too
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// How many rows are merged in one transaction
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(i64).range(1..=100_000))]
    pub batch_size: i64,
    /// The name of the community for discussions that have none at Django; for the first import
    #[arg(long, default_value = "SciCommons")]
    pub open_name: String,
    /// Its slug
    #[arg(long, default_value = "scicommons")]
    pub open_slug: String,
    /// Whether to follow Django afterwards.
    #[command(flatten)]
    pub following: follow::FollowOptions,
}

/// Imports and prints the report, or does what the options say of following instead. Returns the exit status, if it is another one than
/// that of success. An error means that the import has not finished. It can be run again.
pub async fn run(options: &Options) -> anyhow::Result<Option<i32>> {
    // Slow statements are no news here.
    let to = PgConnectOptions::from_str(options.database_url.expose_secret())
        .context("DATABASE_URL")?
        .disable_statement_logging();
    if options.following.status || options.following.unfollow {
        let mut target = db::connect(&to).await.context("cannot reach PostgreSQL at DATABASE_URL")?;
        return follow::report_or_end(&mut target, &options.following).await;
    }
    let from = options.from.as_ref().unwrap_or(&options.database_url);
    let from = PgConnectOptions::from_str(from.expose_secret()).context("--from")?.disable_statement_logging();
    import(options, &from, &to).await?;
    if options.following.follow {
        let mut target = db::connect(&to).await.context("cannot reach PostgreSQL at DATABASE_URL")?;
        follow::begin(&mut target, options.following.with_discussions).await?;
        return follow::report_or_end(&mut target, &options.following).await;
    }
    Ok(None)
}

async fn import(options: &Options, from: &PgConnectOptions, to: &PgConnectOptions) -> anyhow::Result<()> {
    let begun = Instant::now();
    if let Some(path) = &options.report {
        // Not at the end, when all else is done.
        report::create(path)?;
    }
    // It may be a wrong address, so look there before anything changes here.
    let mut source = Source::open(from).await?;
    if options.following.follow {
        follow::check_same_database(&mut source.connection, to).await?;
    }
    db::migrate(to).await.context("cannot migrate the database at DATABASE_URL")?;
    let mut target = connect(to).await?;
    mirror::install(&mut target).await?;
    let staged = staging::stage(&mut target, &mut source, options).await?;
    source.close().await?;
    let merged = merge::merge_all(&mut target, options.batch_size).await?;
    let leapt_to = leap(&mut target).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let report = Report::new(&mut target, staged, merged, seconds, leapt_to).await?;
    // It has finished, even if nobody reads the table.
    if let Err(error) = report.print(&mut target).await {
        tracing::warn!(cause = %error, "cannot print the report");
    }
    if let Some(path) = &options.report {
        report.write(&mut target, path).await.with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(target.close().await?)
}

/// A connection that holds the lock of an import.
async fn connect(options: &PgConnectOptions) -> anyhow::Result<PgConnection> {
    let mut target = db::connect(options).await.context("cannot reach PostgreSQL at DATABASE_URL")?;
    // A batch may take its time, and so may the source.
    sqlx::raw_sql("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0")
        .execute(&mut target)
        .await?;
    if !sqlx::query_scalar::<_, bool>("select pg_try_advisory_lock($1)").bind(LOCK).fetch_one(&mut target).await? {
        bail!("another import is under way in this database (one that was killed needs a moment to end)");
    }
    Ok(target)
}

/// Tells clients to load their pages again, if there may be any: with a server that is live, or with cursors of earlier events. Returns the
/// new base.
async fn leap(target: &mut PgConnection) -> anyhow::Result<Option<i64>> {
    let mut transaction = target.begin().await?;
    let due = sqlx::query("delete from django.settings where name = 'leap_due'").execute(&mut *transaction).await?;
    let mut base = None;
    if due.rows_affected() > 0 {
        let has_events: bool =
            sqlx::query_scalar("select last_assigned > 0 from event_head").fetch_one(&mut *transaction).await?;
        if has_events || events::relay::is_led(&mut transaction).await? {
            base = Some(events::history::leap(&mut *transaction).await?.get());
        }
    }
    transaction.commit().await?;
    Ok(base)
}
