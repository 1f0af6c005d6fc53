#!/usr/bin/env bash
# A private PostgreSQL in a folder: no system service, no shared port, its data kept between runs.
#
#   postgres.sh start DIR [PORT] [--throwaway]   prepare, run in the background, wait
#   postgres.sh stop DIR
#   postgres.sh url DIR                          the DATABASE_URL of the one in DIR
#   postgres.sh bin DIR                          where its programs are (psql, pg_dump)
#
# and the parts of start, for a script that wants to own the process:
#
#   postgres.sh prepare DIR [PORT]               make the cluster if there is none, choose the port
#   postgres.sh run DIR [--throwaway]            become the server; it ends with the caller
#   postgres.sh wait DIR [PID]                   until it answers, or PID is gone
#
# It listens on 127.0.0.1 only, with a random password, and on no Unix socket (whose path may have
# 107 bytes at most, which a deep checkout exceeds). --throwaway trades safety of the data for speed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/accounts.sh"

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
(($# >= 2)) || usage
action=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
shift 2

account=$(service_account postgres)
become "$account"
data=$(data_dir "$dir" "$account")

# A cluster can only be opened by the version that made it; a new one takes the newest there is.
find_bin() {
    local version initdb=""
    if [[ -f $data/PG_VERSION ]]; then
        version=$(<"$data/PG_VERSION")
        initdb=/usr/lib/postgresql/$version/bin/initdb
        [[ -x $initdb ]] || initdb=$(command -v initdb) || true
        [[ -n $initdb && $("$initdb" --version) =~ \)\ $version([.[:space:]]|$) ]] ||
            die "the data in $data was made by PostgreSQL $version, which is not installed.
  Install postgresql-$version, or remove $dir and $data to begin anew."
    else
        initdb=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n1)
        [[ -x $initdb ]] || initdb=$(command -v initdb) ||
            die "PostgreSQL's initdb was found neither in /usr/lib/postgresql/*/bin nor in PATH: install the package postgresql"
    fi
    dirname "$initdb"
}

# Prints the pid of the server that runs in $data. A stale postmaster.pid may name an unrelated process
# of today: only one that stands in the data folder is the server.
server_pid() {
    local pid
    pid=$(head -n1 "$data/postmaster.pid" 2>/dev/null) || return 1
    [[ -n $pid && /proc/$pid/cwd -ef $data ]] && echo "$pid"
}

prepare() {
    local bin pwfile port
    bin=$(find_bin)
    # One that was just told to stop, or whose owner was killed, may still be writing its last page.
    for ((i = 0; i < 300; i++)); do server_pid >/dev/null || break; sleep 0.1; done
    ! server_pid >/dev/null || die "a PostgreSQL already runs in $data (pid $(server_pid)); stop it with: scripts/postgres.sh stop $dir"
    rm -f "$data/postmaster.pid"

    # `ready` is written last: a cluster that was only half made is made anew.
    if [[ ! -f $data/ready ]]; then
        find "$data" -mindepth 1 -delete
        (umask 077 && random_hex 16 >"$dir/password")
        pwfile=$(mktemp)
        cp "$dir/password" "$pwfile"
        ((EUID != 0)) || chown "$account:" "$pwfile"
        # `password`, not scram: the client's part of scram takes 100 ms a connection in a debug build,
        # and nobody listens between two ends of loopback.
        (cd / && "${AS[@]}" "$bin/initdb" --pgdata="$data" --username=discussions --pwfile="$pwfile" --auth=password \
            --encoding=UTF8 --locale=C.UTF-8 --no-sync) >"$dir/log" 2>&1 ||
            { rm -f "$pwfile"; tail -n 20 "$dir/log" >&2; die "initdb failed; its output is above and in $dir/log"; }
        rm -f "$pwfile"
        (cd / && echo 'create database discussions' |
            "${AS[@]}" "$bin/postgres" --single -D "$data" postgres) >>"$dir/log" 2>&1 ||
            die "the database could not be created; see $dir/log"
        touch "$data/ready"
    fi

    port=${1:-$(free_port)}
    ! port_taken 127.0.0.1 "$port" || die "port $port on 127.0.0.1 is in use: give postgres.sh another one"
    (umask 077 && echo "postgres://discussions:$(<"$dir/password")@127.0.0.1:$port/discussions" >"$dir/url")
    echo "$port" >"$dir/port"
}

run() {
    local bin options=()
    bin=$(find_bin)
    [[ ${1:-} != --throwaway ]] ||
        options=(-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=300)
    # The death signal comes last: the kernel forgets it when the account changes.
    cd /
    exec setsid "${AS[@]}" setpriv --pdeathsig INT -- "$bin/postgres" -D "$data" -p "$(<"$dir/port")" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c logging_collector=off \
        "${options[@]}" >>"$dir/log" 2>&1
}

wait_ready() {
    local bin
    bin=$(find_bin)
    for ((i = 0; i < 600; i++)); do
        # Our server, not one of another owner that took the port meanwhile.
        if server_pid >/dev/null && "$bin/pg_isready" -q -h 127.0.0.1 -p "$(<"$dir/port")"; then return; fi
        [[ -z ${1:-} ]] || kill -0 "$1" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$dir/log" >&2
    die "PostgreSQL did not start; the end of $dir/log is above"
}

stop() {
    local pid
    pid=$(server_pid) || return 0
    kill -INT "$pid"
    for ((i = 0; i < 300; i++)); do server_pid >/dev/null || return 0; sleep 0.1; done
    die "PostgreSQL (pid $pid) did not stop within 30 s; see $dir/log"
}

case $action in
    prepare) prepare "$@" ;;
    run) run "$@" ;;
    wait) wait_ready "$@" ;;
    url) cat "$dir/url" ;;
    bin) find_bin ;;
    stop) stop ;;
    start)
        throwaway=()
        port=()
        for word; do if [[ $word == --throwaway ]]; then throwaway=("$word"); else port=("$word"); fi; done
        prepare "${port[@]}"
        # Through a shell that stays as long as the server does: run's server ends with its parent.
        setsid "$BASH" -c '"$@" & wait' - "$0" run "$dir" "${throwaway[@]}" </dev/null >/dev/null 2>&1 &
        wait_ready $!
        ;;
    *) usage ;;
esac
