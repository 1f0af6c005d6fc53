#!/usr/bin/env bash
# A private Redis in a folder: a free port on 127.0.0.1, a random password, nothing written to disk.
#
#   redis.sh start DIR [PORT]     prepare, run in the background, wait
#   redis.sh stop DIR
#   redis.sh url DIR              the REDIS_URL of the one in DIR
#
# and the parts of start, for a script that wants to own the process:
#
#   redis.sh prepare DIR [PORT]
#   redis.sh run DIR              become the server; it ends with the caller
#   redis.sh wait DIR [PID]       until it answers, or PID is gone
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/accounts.sh"

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
(($# >= 2)) || usage
action=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
shift 2

account=$(service_account redis)
become "$account"
data=$(data_dir "$dir" "$account")

# Prints the pid of the server that runs in $data, and of no other process that has its number today.
server_pid() {
    local pid
    pid=$(cat "$data/pid" 2>/dev/null) || return 1
    [[ -n $pid && /proc/$pid/cwd -ef $data ]] && echo "$pid"
}

prepare() {
    local port=${1:-$(free_port)} password
    command -v redis-server >/dev/null || die "redis-server was not found in PATH: install the package redis-server"
    ! server_pid >/dev/null || die "a Redis already runs in $data (pid $(server_pid)); stop it with: scripts/redis.sh stop $dir"
    ! port_taken 127.0.0.1 "$port" || die "port $port on 127.0.0.1 is in use: give redis.sh another one"
    password=$(random_hex 16)
    (
        umask 077
        printf '%s\n' "bind 127.0.0.1" "port $port" "requirepass $password" "dir $data" "pidfile $data/pid" \
            'save ""' "appendonly no" "daemonize no" >"$data/redis.conf"
        echo "redis://:$password@127.0.0.1:$port/0" >"$dir/url"
    )
    ((EUID != 0)) || chown "$account:" "$data/redis.conf"
    echo "$port" >"$dir/port"
    rm -f "$data/pid"
}

run() {
    cd /
    # The death signal comes last: the kernel forgets it when the account changes.
    exec setsid "${AS[@]}" setpriv --pdeathsig TERM -- "$(command -v redis-server)" "$data/redis.conf" >>"$dir/log" 2>&1
}

wait_ready() {
    for ((i = 0; i < 300; i++)); do
        if server_pid >/dev/null && port_taken 127.0.0.1 "$(<"$dir/port")"; then return; fi
        [[ -z ${1:-} ]] || kill -0 "$1" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$dir/log" >&2
    die "Redis did not start; the end of $dir/log is above"
}

stop() {
    local pid
    pid=$(server_pid) || return 0
    kill -TERM "$pid"
    for ((i = 0; i < 100; i++)); do server_pid >/dev/null || return 0; sleep 0.1; done
    die "Redis (pid $pid) did not stop within 10 s; see $dir/log"
}

case $action in
    prepare) prepare "$@" ;;
    run) run ;;
    wait) wait_ready "$@" ;;
    url) cat "$dir/url" ;;
    stop) stop ;;
    start)
        prepare "$@"
        # Through a shell that stays as long as the server does: run's server ends with its parent.
        setsid "$BASH" -c '"$@" & wait' - "$0" run "$dir" </dev/null >/dev/null 2>&1 &
        wait_ready $!
        ;;
    *) usage ;;
esac
