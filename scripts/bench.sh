#!/usr/bin/env bash
# `make bench`: measures the figures of docs/performance.md and writes them there. This script prepares the packages, a private
# PostgreSQL that syncs to disk as in production, and the release build. crates/bench measures.
#
#   bench.sh [STAGE...]     fanout delivery requests relay hub connections nodes; by default all
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

work=$ROOT/.data/bench/$$
finish() {
    local status=$?
    trap '' INT TERM HUP
    stop_all
    [[ ! -f $work/postgres/location ]] || rm -rf -- "$(<"$work/postgres/location")"
    if ((status == 0)); then rm -rf -- "$work"; else say "the measurements are in $work"; rm -rf -- "$work/postgres/data"; fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

scripts/setup.sh bench
command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
ulimit -n "$(ulimit -Hn)" || true

mkdir -p "$work"
chmod 755 .data .data/bench "$work" # for the account that PostgreSQL runs under

# The benchmark must not depend on the developer's settings.
unset TRUSTED_PROXIES
unset DATABASE_URL REDIS_URL BIND_ADDR METRICS_ADDR STATIC_DIR DEMO JWT_PUBLIC_KEY JWT_ALGORITHM JWT_AUDIENCE JWT_ISSUER
say "building the release"
run_child cargo build --release --locked --bins -p discussions -p discussions-load -p discussions-bench ||
    die "the release did not build"
own_postgres "$work/postgres"
PG_BIN=$(scripts/postgres.sh bin "$work/postgres")
JWT_SECRET=$(random_hex 32)
export PG_BIN JWT_SECRET BENCH_WORK=$work
run_child "$(cargo_target_dir)/release/discussions-bench" "$@" || die "the benchmark failed; see above"
