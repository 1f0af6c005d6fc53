#!/usr/bin/env bash
# `make test`: runs every test, with a private PostgreSQL and Redis for this run only.
#
#   test.sh [rust] [client]      one stage or both (the default)
#
# If DATABASE_URL or REDIS_URL is set, the tests use that server instead.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
end_with_make "$@"
cd "$ROOT"
. scripts/services.sh

stages=("$@")
((${#stages[@]})) || stages=(rust client)
work=$ROOT/.data/test/$$

remove_work() {
    local folder
    for folder in "$1"/*/location; do [[ ! -f $folder ]] || rm -rf -- "$(<"$folder")"; done
    rm -rf -- "$1"
}
finish() {
    local status=$?
    trap '' INT TERM HUP
    stop_all
    if ((status == 0)); then
        remove_work "$work"
    else
        # Keep the servers' logs, which may show the cause, but not the databases.
        rm -rf -- "$work"/*/data
        for folder in "$work"/*/location; do [[ ! -f $folder ]] || rm -rf -- "$(<"$folder")"; done
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

scripts/setup.sh "${stages[@]/#/test-}"
command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH

# Remove what killed runs left behind.
for old in .data/test/*/; do
    kill -0 "$(basename "$old")" 2>/dev/null || remove_work "${old%/}"
done
mkdir -p "$work"
chmod 755 .data .data/test "$work" # for the account that PostgreSQL runs under
[[ -n ${DATABASE_URL:-} ]] || own_postgres "$work/postgres" --throwaway
[[ -n ${REDIS_URL:-} ]] || own_redis "$work/redis"
# The tests must not depend on the developer's settings.
unset WRITES_PER_MINUTE VOTES_PER_MINUTE REGISTERS_PER_MINUTE ANONYMOUS_READS_PER_MINUTE TRUSTED_PROXIES
unset LOGINS_PER_MINUTE PASSWORD_LOGIN ACCESS_TOKEN_SECONDS REFRESH_TOKEN_SECONDS DJANGO_PASSWORD_ROUNDS
unset BIND_ADDR METRICS_ADDR JWT_SECRET JWT_PUBLIC_KEY JWT_ALGORITHM JWT_AUDIENCE JWT_ISSUER ALLOWED_ORIGINS DEMO STATIC_DIR

# logged LOG COMMAND...: runs COMMAND, and also writes its output to LOG.
logged() {
    local log=$1 status=0 copy copier
    shift
    exec {copy}> >(exec tee "$log")
    copier=$!
    run_child "$@" >&"$copy" || status=$?
    exec {copy}>&-
    await_end "$copier" 5 # otherwise the summary could come before the last lines
    return "$status"
}

test_rust() {
    # The tests mostly wait: for a process to start, for an event, for a time limit. So there may be more of them than cores.
    export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 2))}
    logged "$work/rust.log" cargo test --locked --workspace || die "Rust tests failed"
    # There are two implementations of polls. Both must pass these tests.
    logged "$work/hyper.log" env DIRECT_POLLS=false cargo test --locked --workspace --test it -- poll_rules:: delivery:: invariants:: ||
        die "Rust tests of polls by hyper failed"
    # The program starts its own PostgreSQL and Redis, because it must be able to kill them.
    run_child "${BUILD_PROGRAMS[@]}" || die "the programs did not build"
    logged "$work/chaos.log" env -u DATABASE_URL -u REDIS_URL "$(cargo_target_dir)/debug/discussions-chaos" ||
        die "the short chaos run failed; the nodes' logs are in .data/chaos"
}

test_client() {
    run_child "${BUILD_PROGRAMS[@]}" || die "the server did not build"
    DISCUSSIONS_BIN=$(cargo_target_dir)/debug/discussions
    export DISCUSSIONS_BIN CHROMIUM_PATH=${CHROMIUM_PATH:-/usr/bin/chromium}
    run_child scripts/npm-ci.sh || die "npm ci failed in frontend-client"
    logged "$work/client.log" env -C frontend-client CI=true npm test || die "client tests failed"
}

# count WORDS: adds up the counts of cargo ("N passed; N failed; N ignored") and vitest ("Tests  N passed | N skipped").
count() {
    sed 's/\x1b\[[0-9;]*m//g' "$work"/*.log | grep -E '^test result:|^ +Tests ' |
        grep -oE "[0-9]+ ($1)" | awk '{ sum += $1 } END { print sum + 0 }'
}

summary=()
for stage in "${stages[@]}"; do
    say "tests: $stage"
    began=$SECONDS
    "test_$stage"
    summary+=("$stage in $((SECONDS - began)) s")
done
printf '\nAll stages passed: %s\n' "$(IFS=,; echo "${summary[*]}")"
echo "tests: $(count passed) passed, $(count failed) failed, $(count 'ignored|skipped') skipped"
