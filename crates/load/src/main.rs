//! The command line of the load test.

use clap::Parser;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures running servers with many simulated users; exit status 0 if nothing was missed, repeated, out of order or leaked
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(flatten)]
    args: discussions_load::LoadArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let good = discussions_load::run(Cli::parse().args).await?;
    anyhow::ensure!(good, "not every event arrived as it should; see the table");
    Ok(())
}
