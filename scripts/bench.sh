#!/usr/bin/env bash
# `make bench`: the figures of docs/performance.md, measured here and now, and written there.
#
#   bench.sh [STAGE...]     fanout delivery requests relay hub connections nodes; all where none is named
#
# Everything on loopback, against a private PostgreSQL that syncs to disk as in production. What is compared is
# measured in turns within one run, since two runs an hour apart differ more than what is compared.
#
#   BENCH_REPEATS=3         how often each is measured; the median counts
#   BENCH_POLLS="1000 5000 19900"
#   POLLBENCH=DIR           the load generator with `floor`; ../shared/pollbench where it is not set.
#                           Without it there is no comparison, and the project's own load test is run instead.
#   BENCH_BINARY=FILE       this server, instead of one built from here
#   NGINX_BINARY=FILE NCHAN_MODULE=FILE
#                           nginx and its nchan module, where they are not where Debian puts them
set -euo pipefail
. "$(dirname "$0")/lib.sh"
end_with_make "$@"
cd "$ROOT"
. scripts/services.sh
. scripts/bench/common.sh
. scripts/bench/fanout.sh
. scripts/bench/requests.sh
. scripts/bench/relay.sh
. scripts/bench/nodes.sh
. scripts/bench/document.sh

all=(fanout delivery requests relay hub connections nodes)
stages=("$@")
((${#stages[@]})) || stages=("${all[@]}")
for stage in "${stages[@]}"; do
    [[ " ${all[*]} " == *" $stage "* ]] || die "there is no stage $stage; there are: ${all[*]}"
done

work=$ROOT/.data/bench/$$
SERVER_PID="" PEER_PID="" NODE_PIDS=()
finish() {
    local status=$?
    trap '' INT TERM HUP
    [[ -z $SERVER_PID ]] || stop_one "$SERVER_PID"
    [[ -z $PEER_PID ]] || stop_one "$PEER_PID"
    local node
    for node in "${NODE_PIDS[@]}"; do stop_one "$node"; done
    stop_all
    [[ ! -f $work/postgres/location ]] || rm -rf -- "$(<"$work/postgres/location")"
    if ((status == 0)); then rm -rf -- "$work"; else say "what was measured is in $work"; rm -rf -- "$work/postgres/data"; fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

scripts/setup.sh bench
command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
ulimit -n "$(ulimit -Hn)" || true

mkdir -p "$work"
chmod 755 .data .data/bench "$work" # for the account that PostgreSQL runs under
RESULTS=$work/results.tsv
: >"$RESULTS"

unset DATABASE_URL REDIS_URL BIND_ADDR METRICS_ADDR STATIC_DIR DEMO
say "building the release"
run_child cargo build --release --locked -p discussions -p discussions-load --bins || die "the server or the load test did not build"
DISCUSSIONS=$(realpath "${BENCH_BINARY:-$(cargo_target_dir)/release/discussions}")
LOAD=$(cargo_target_dir)/release/discussions-load
find_pollbench
own_postgres "$work/postgres"
PG_BIN=$(scripts/postgres.sh bin "$work/postgres")
JWT_SECRET=$(random_hex 32)
export JWT_SECRET
seed_pollers

for stage in "${stages[@]}"; do
    say "measuring: $stage"
    "measure_$stage"
done
write_document
