#!/usr/bin/env bash
# `make chaos`: makes faults under load for ten minutes, then checks every client's history and writes docs/chaos.md.
#
#   CHAOS_ALONE     true: makes each kind of fault by itself, twice, within six minutes, and writes the last part of docs/chaos.md
#   CHAOS_SECONDS   how long (600); only a run of at least ten minutes writes the report
#   CHAOS_KINDS     only these kinds of faults (`cargo run -p discussions-chaos -- --help` has their names); no report
#   CHAOS_KEEP      true: keep the logs of a run that passed, in .data/chaos
#   CHAOS_SEED      chooses the faults and their order
#   DISCUSSIONS_BIN the server to break; without it, a debug build
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
if [[ -z ${CHAOS_KINDS:-} ]] && { [[ ${CHAOS_ALONE:-} == true ]] || ((CHAOS_SECONDS >= 600)); }; then
    export CHAOS_REPORT=$ROOT/docs/chaos.md
fi

# The program starts its own PostgreSQL and Redis, because it must be able to kill them.
unset DATABASE_URL REDIS_URL
run_child "${BUILD_PROGRAMS[@]}" || die "the programs did not build"
run_child "$(cargo_target_dir)/debug/discussions-chaos" || die "the run failed; the nodes' logs are in .data/chaos"
