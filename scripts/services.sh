# shellcheck shell=bash
# Starts private services and child processes that end with the script that sources this.
#
# The kernel signals every child when its parent dies, so that even `kill -9` of the script leaves no
# server behind. Each child has its own session, so Ctrl-C reaches only the script, which then stops its
# children in order.

POSTGRES_PID="" REDIS_PID="" CHILD_PID=""

# own_postgres DIR [--throwaway]: starts a private PostgreSQL and exports DATABASE_URL.
own_postgres() {
    "$ROOT/scripts/postgres.sh" prepare "$1"
    "$ROOT/scripts/postgres.sh" run "$@" &
    POSTGRES_PID=$!
    "$ROOT/scripts/postgres.sh" wait "$1" "$POSTGRES_PID"
    DATABASE_URL=$("$ROOT/scripts/postgres.sh" url "$1")
    export DATABASE_URL
}

# own_redis DIR: starts a private Redis and exports REDIS_URL.
own_redis() {
    "$ROOT/scripts/redis.sh" prepare "$1"
    "$ROOT/scripts/redis.sh" run "$1" &
    REDIS_PID=$!
    "$ROOT/scripts/redis.sh" wait "$1" "$REDIS_PID"
    REDIS_URL=$("$ROOT/scripts/redis.sh" url "$1")
    export REDIS_URL
}

# start_child COMMAND...: starts COMMAND and sets CHILD_PID.
start_child() {
    setsid setpriv --pdeathsig TERM -- "$@" &
    CHILD_PID=$!
}

# run_child COMMAND...: runs COMMAND to its end. Unlike with a plain call, a signal to the script has an
# effect at once, and ends COMMAND and all its children.
run_child() {
    local status=0
    start_child "$ROOT/scripts/group.sh" "$@"
    wait "$CHILD_PID" || status=$?
    CHILD_PID=""
    return "$status"
}

# await_end PID SECONDS: waits until PID ends. After SECONDS it kills PID and its group.
await_end() {
    local pid=$1 seconds=$2
    for ((i = 0; i < seconds * 10; i++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    if kill -0 "$pid" 2>/dev/null; then
        warn "process $pid did not stop within $seconds s: killing it"
        kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
    fi
    wait "$pid" 2>/dev/null || true
}

# Stops all children. The users of a service stop before the service.
stop_all() {
    local pid
    for pid in $CHILD_PID; do
        kill -TERM -- "-$pid" 2>/dev/null || true
        await_end "$pid" 15
    done
    for pid in $REDIS_PID $POSTGRES_PID; do
        kill -INT "$pid" 2>/dev/null || true # PostgreSQL's fast shutdown; Redis takes it as a shutdown too
        await_end "$pid" 30
    done
    CHILD_PID="" REDIS_PID="" POSTGRES_PID=""
}
