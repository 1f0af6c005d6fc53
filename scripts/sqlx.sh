#!/usr/bin/env bash
# What sqlx knows of our queries, in .sqlx, so that a build needs no database. Needs no sqlx-cli:
# the query macros write it themselves when they may ask a database.
#
#   sqlx.sh write     make .sqlx anew
#   sqlx.sh check     fail if it differs from what is committed
set -euo pipefail
. "$(dirname "$0")/lib.sh"
end_with_make "$@"
cd "$ROOT"
. scripts/services.sh

action=${1:-}
[[ $action == write || $action == check ]] || die "usage: scripts/sqlx.sh write|check"

work=$ROOT/.data/sqlx/$$
finish() {
    local status=$?
    trap '' INT TERM HUP
    stop_all
    [[ ! -f $work/postgres/location ]] || rm -rf -- "$(<"$work/postgres/location")"
    rm -rf -- "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

unset DATABASE_URL # the schema must be exactly migrations/, so no other database will do
mkdir -p "$work/new"
chmod 755 .data .data/sqlx "$work"
own_postgres "$work/postgres" --throwaway

# Not by the binary: it does not build before .sqlx is right.
psql=$(scripts/postgres.sh bin "$work/postgres")/psql
for migration in migrations/*.sql; do
    [[ $migration != *.down.sql ]] || continue
    "$psql" "$DATABASE_URL" -X -q -v ON_ERROR_STOP=1 --single-transaction -f "$migration" >/dev/null ||
        die "$migration failed; see above"
done

# The macros run only where cargo compiles, hence the touch. The same target folder as every other
# build: its dependencies are there already. .sqlx at the workspace's root serves every crate.
touch src/lib.rs crates/*/src/*.rs
run_child env SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$work/new" cargo check --quiet --locked --workspace --all-targets ||
    die "the code does not compile against the schema of migrations/; see above"
compgen -G "$work/new/query-*.json" >/dev/null || die "cargo check wrote no query data: does the crate use sqlx::query!?"

if [[ $action == write ]]; then
    rm -rf .sqlx
    mv "$work/new" .sqlx
    say ".sqlx has $(find .sqlx -name '*.json' | wc -l) queries"
elif ! diff -r .sqlx "$work/new" >&2; then
    die ".sqlx is not what the queries and migrations say (differences above). Run: make sqlx, and commit .sqlx"
fi
