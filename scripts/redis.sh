#!/usr/bin/env bash
# Runs a private Redis in a folder, on a free port of 127.0.0.1 with a random password. It writes nothing to disk.
#
#   redis.sh start DIR [PORT]     prepare, run in the background, wait
#   redis.sh stop DIR
#   redis.sh url DIR              prints the REDIS_URL of the server in DIR
#
# The parts of start, for a script that wants to own the process:
#
#   redis.sh prepare DIR [PORT]
#   redis.sh run DIR              becomes the server, which ends with the caller
#   redis.sh wait DIR [PID]       waits until the server answers or PID is gone
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

# Prints the pid of the server that runs in $data. A stale pid file may name an unrelated process, which does not count.
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
    # The death signal must be set last, because the kernel clears it when the account changes.
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
        # The shell in between lives as long as the server, because the server ends with its parent.
        setsid "$BASH" -c '"$@" & wait' - "$0" run "$dir" </dev/null >/dev/null 2>&1 &
        wait_ready $!
        ;;
    *) usage ;;
esac
