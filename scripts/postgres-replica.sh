#!/usr/bin/env bash
# postgres-replica.sh DIR URL: makes DIR a new streaming replica of the PostgreSQL at URL. `postgres.sh run DIR` then runs it.
#
# If DIR had a port, it keeps it. The replica is asynchronous: its primary does not wait for it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/accounts.sh"
(($# == 2)) || { sed -n 2,4p "$0" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
url=$2

account=$(service_account postgres)
become "$account"
data=$(data_dir "$dir" "$account")
find "$data" -mindepth 1 -delete

bin=$(printf '%s\n' /usr/lib/postgresql/*/bin/pg_basebackup | sort -V | tail -n1)
[[ -x $bin ]] || bin=$(command -v pg_basebackup) || die "pg_basebackup was not found: install the package postgresql"
(cd / && "${AS[@]}" "$bin" --dbname="$url" --pgdata="$data" --write-recovery-conf --wal-method=stream \
    --checkpoint=fast --no-sync) >>"$dir/log" 2>&1 || die "pg_basebackup failed; its output is in $dir/log"

[[ -f $dir/port ]] || free_port >"$dir/port"
# The replica has the primary's roles and passwords. Only the port differs.
(umask 077 && sed -E "s/:[0-9]+\//:$(<"$dir/port")\//" <<<"$url" >"$dir/url")
