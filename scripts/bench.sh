#!/usr/bin/env bash
# `make bench`: measures the figures of docs/performance.md and writes them there. This script prepares the packages, a private
# PostgreSQL that syncs to disk as in production, and the release build. crates/bench measures.
#
#   bench.sh [STAGE...]     fanout delivery requests member relay hub connections nodes; by default all
#
#   BENCH_REPEATS=3         how often each stage is measured; the median counts
#   BENCH_POLLS="1000 5000 19900"
#   BENCH_DOCUMENT=FILE     the document to write; by default docs/performance.md
#   BENCH_BINARY=FILE       the server to measure; by default one that is built here
#   POLLBENCH=DIR           the load generator to compare with; by default ../shared/pollbench
#
# `cargo run -p discussions-bench -- --help` lists all settings.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
end_with_make "$@"
cd "$ROOT"
. scripts/services.sh
. scripts/measure.sh

scripts/setup.sh bench
begin_measurement bench discussions discussions-load discussions-bench
own_postgres "$work/postgres"
PG_BIN=$(scripts/postgres.sh bin "$work/postgres")
JWT_SECRET=$(random_hex 32)
export PG_BIN JWT_SECRET BENCH_WORK=$work
run_child "$(cargo_target_dir)/release/discussions-bench" "$@" || die "the benchmark failed; see above"
