#!/usr/bin/env bash
# `make abuse`: attacks a server of its own and prints what ordinary users notice. This script prepares a private PostgreSQL and
# the release build. crates/abuse attacks.
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
. scripts/measure.sh

scripts/setup.sh test-rust
begin_measurement abuse discussions discussions-abuse
own_postgres "$work/postgres" --throwaway
JWT_SECRET=$(random_hex 32)
export JWT_SECRET ABUSE_WORK=$work
run_child "$(cargo_target_dir)/release/discussions-abuse" "$@" || die "ordinary users noticed; see above"
