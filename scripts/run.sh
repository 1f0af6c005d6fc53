#!/usr/bin/env bash
# `make run`: starts everything on http://127.0.0.1:8000, with a private PostgreSQL and without Redis.
# Settings come from the environment and then from .env. .env.example lists them.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
end_with_make "$@"
cd "$ROOT"
. scripts/services.sh

finish() {
    local status=$?
    trap '' INT TERM HUP
    [[ -z $CHILD_PID$POSTGRES_PID ]] || say "stopping (the data stays in .data)"
    stop_all
    exit "$status"
}
trap finish EXIT
trap 'exit 0' INT TERM HUP # Ctrl-C is the normal end and no error

load_env_file .env
export BIND_ADDR=${BIND_ADDR:-127.0.0.1:8000} METRICS_ADDR=${METRICS_ADDR:-127.0.0.1:9000}
export DEMO=${DEMO:-true}

# host_of ADDRESS: prints the host to connect to. A server on all addresses is reached on loopback.
host_of() {
    local host=${1%:*}
    host=${host#[} host=${host%]}
    case $host in 0.0.0.0 | '') echo 127.0.0.1 ;; ::) echo ::1 ;; *) echo "$host" ;; esac
}

require_free() {
    local name=$1 address=$2 other=$3
    ! port_taken "$(host_of "$address")" "${address##*:}" ||
        die "port ${address##*:} is in use by another program, and $name is $address.
  Stop that program (ss -ltnp | grep :${address##*:} names it), or choose another port:
      $name=$other make run"
}
host=$(host_of "$BIND_ADDR") port=${BIND_ADDR##*:}
url=http://$host:$port
[[ $host != *:* ]] || url=http://[$host]:$port
# The demo page calls with a cookie, and it may be opened under either of two names.
export ALLOWED_ORIGINS=${ALLOWED_ORIGINS:-$url,http://localhost:$port,http://127.0.0.1:3000,http://localhost:3000}

# Only one `make run` at a time, because two would share the data folder. The servers inherit the lock,
# so after a killed run it is held until its last server is gone.
mkdir -p .data
exec 9>>.data/run.lock
if ! flock -w 3 9; then # long enough for a run that is just stopping
    holder=$(cat .data/run.pid 2>/dev/null || true)
    if [[ -z $holder ]] || kill -0 "$holder" 2>/dev/null; then
        die "make run is already running in this checkout${holder:+ (pid $holder)}: stop it first, or use another checkout"
    fi
    flock -w 30 9 || die "an earlier make run was killed and its servers are still stopping: try again, or see ps"
fi
echo $$ >.data/run.pid

require_free BIND_ADDR "$BIND_ADDR" 127.0.0.1:8080
require_free METRICS_ADDR "$METRICS_ADDR" 127.0.0.1:9090
scripts/setup.sh run
command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH

say "building the server (the first time takes some minutes)"
run_child cargo build --release --locked --bin discussions 9>&- || die "the server did not build; see above"
discussions=$(cargo_target_dir)/release/discussions

if run_child scripts/demo-page.sh 9>&-; then
    export STATIC_DIR=${STATIC_DIR:-frontend-client/demo/out}
else
    warn "there is no demo page, for the reason above; the API works without it"
fi

if [[ -n ${DATABASE_URL:-} ]]; then
    say "using the PostgreSQL of DATABASE_URL"
else
    own_postgres .data/postgres
fi
if [[ -z ${JWT_SECRET:-}${JWT_PUBLIC_KEY:-} ]]; then
    [[ -s .data/jwt_secret ]] || (umask 077 && random_hex 32 >.data/jwt_secret)
    JWT_SECRET=$(<.data/jwt_secret)
    export JWT_SECRET
fi
run_child "$discussions" migrate || die "the migrations failed; see above"
run_child "$discussions" seed || die "the demo data could not be written; see above"

start_child "$discussions" serve
for ((i = 0; i < 600; i++)); do
    [[ $(http_status "$host" "$port" /health/ready) != 2?? ]] || break
    kill -0 "$CHILD_PID" 2>/dev/null || die "the server ended during its start; see above"
    sleep 0.1
done
((i < 600)) || die "the server is not ready after 60 s; see its log above"

echo
echo "Ready. Stop it with Ctrl-C; the data stays in .data."
echo
[[ -z ${STATIC_DIR:-} ]] || echo "  The demo page:      $url/"
echo "  The API:            $url/docs"
echo "  Metrics:            http://$METRICS_ADDR/metrics"
echo "  The database:       psql \"\$(scripts/postgres.sh url .data/postgres)\""
if token=$("$discussions" token --user 1 --ttl-seconds 86400 2>/dev/null); then
    echo "  A call as user 1:"
    echo
    echo "curl -H 'Authorization: Bearer $token' $url/articles/1/discussions"
fi
echo

wait -n || true
kill -0 "$CHILD_PID" 2>/dev/null && die "PostgreSQL ended by itself; see .data/postgres/log"
die "the server ended by itself; see above"
