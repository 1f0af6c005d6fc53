#!/usr/bin/env bash
# `make chaos`: ten minutes of faults under load, then every client's history is checked; the report is docs/chaos.md.
#
#   CHAOS_SECONDS   how long (600); the report is written only by a run of at least ten minutes
#   CHAOS_SEED      which faults, in which order
#   DISCUSSIONS_BIN the server to break, instead of a debug build
set -euo pipefail
. "$(dirname "$0")/lib.sh"
end_with_make "$@"
cd "$ROOT"
. scripts/services.sh

finish() {
    local status=$?
    trap '' INT TERM HUP
    stop_all
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

scripts/setup.sh test-rust
command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
export CHAOS_SECONDS=${CHAOS_SECONDS:-600}
((CHAOS_SECONDS < 600)) || export CHAOS_REPORT=$ROOT/docs/chaos.md

# It starts its own PostgreSQL and Redis, which it must be able to kill.
unset DATABASE_URL REDIS_URL
run_child cargo test --locked --test chaos -- --nocapture || die "the test failed: what the nodes logged is in .data/chaos"
