#!/usr/bin/env bash
# Handles .sqlx, which has sqlx's data of our queries, so that a build needs no database. It needs no
# sqlx-cli: the query macros write the data themselves when they have a database.
#
#   sqlx.sh write     writes .sqlx
#   sqlx.sh check     fails if the committed .sqlx is not current
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

unset DATABASE_URL # the schema must be exactly that of migrations/, so use no other database
mkdir -p "$work/new"
chmod 755 .data .data/sqlx "$work"
own_postgres "$work/postgres" --throwaway

# psql applies the migrations, because the server does not build while .sqlx is outdated.
psql=$(scripts/postgres.sh bin "$work/postgres")/psql
for migration in migrations/*.sql; do
    [[ $migration != *.down.sql ]] || continue
    "$psql" "$DATABASE_URL" -X -q -v ON_ERROR_STOP=1 --single-transaction -f "$migration" >/dev/null ||
        die "$migration failed; see above"
done

# The macros run only when cargo compiles, hence the touch. The target folder is that of every other
# build, which has the dependencies already. .sqlx at the workspace's root serves every crate.
touch src/lib.rs crates/*/src/*.rs
# To check, clippy compiles as `make lint` does, which then has nothing to compile again. To write, the code need not be clean yet.
lints=()
[[ $action == write ]] || lints=(-- -D warnings)
run_child env SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$work/new" cargo clippy --quiet --locked --workspace --all-targets "${lints[@]}" ||
    die "the code does not compile against the schema of migrations/, or clippy refuses it; see above"
compgen -G "$work/new/query-*.json" >/dev/null || die "cargo clippy wrote no query data: does the crate use sqlx::query!?"

if [[ $action == write ]]; then
    rm -rf .sqlx
    mv "$work/new" .sqlx
    say ".sqlx has $(find .sqlx -name '*.json' | wc -l) queries"
elif ! diff -r .sqlx "$work/new" >&2; then
    die ".sqlx differs from the queries and migrations (see above). Run: make sqlx, and commit .sqlx"
fi
