#!/usr/bin/env bash
# `make abuse`: attacks a server of its own and prints what ordinary users notice. This script makes what must be there before:
# a private PostgreSQL and the release build. crates/abuse attacks.
#
#   abuse.sh [ATTACK...]    the attacks to make; all of them if none is named
#
#   ABUSE_SECONDS=12        how long each attack lasts
#   DISCUSSIONS_BIN=FILE    this server, instead of one built from here
set -euo pipefail
. "$(dirname "$0")/lib.sh"
end_with_make "$@"
cd "$ROOT"
. scripts/services.sh

work=$ROOT/.data/abuse/$$
finish() {
    local status=$?
    trap '' INT TERM HUP
    stop_all
    [[ ! -f $work/postgres/location ]] || rm -rf -- "$(<"$work/postgres/location")"
    if ((status == 0)); then rm -rf -- "$work"; else say "the server's log is in $work"; rm -rf -- "$work/postgres/data"; fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

scripts/setup.sh test-rust
command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
ulimit -n "$(ulimit -Hn)" || true

mkdir -p "$work"
chmod 755 .data .data/abuse "$work" # for the account that PostgreSQL runs under

# A developer's settings are none of this run's business.
unset DATABASE_URL REDIS_URL BIND_ADDR METRICS_ADDR STATIC_DIR DEMO JWT_PUBLIC_KEY JWT_ALGORITHM JWT_AUDIENCE JWT_ISSUER
say "building the release"
run_child cargo build --release --locked --bins -p discussions -p discussions-abuse || die "the release did not build"
own_postgres "$work/postgres" --throwaway
JWT_SECRET=$(random_hex 32)
export JWT_SECRET ABUSE_WORK=$work
run_child "$(cargo_target_dir)/release/discussions-abuse" "$@" || die "ordinary users noticed; see above"
