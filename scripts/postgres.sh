#!/usr/bin/env bash
# Runs a private PostgreSQL in a folder. It is no system service, has its own port, and keeps its data between runs.
#
#   postgres.sh start DIR [PORT] [--throwaway]   prepare, run in the background, wait
#   postgres.sh stop DIR
#   postgres.sh url DIR                          prints the DATABASE_URL of the server in DIR
#   postgres.sh bin DIR                          prints the folder of its programs (psql, pg_dump)
#
# The parts of start, for a script that wants to own the process:
#
#   postgres.sh prepare DIR [PORT]               creates the cluster if there is none, and chooses the port
#   postgres.sh run DIR [--throwaway]            becomes the server, which ends with the caller
#   postgres.sh wait DIR [PID]                   waits until the server answers or PID is gone
#
# The server listens on 127.0.0.1 only, with a random password. It has no Unix socket, because the path of
# a socket may have 107 bytes at most, which a deep checkout exceeds. --throwaway makes it faster, but its
# data may not survive a crash.
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

# Only the version that made a cluster can open it. A new cluster uses the newest installed version.
find_bin() {
    local version initdb=""
    if [[ -f $data/PG_VERSION ]]; then
        version=$(<"$data/PG_VERSION")
        initdb=/usr/lib/postgresql/$version/bin/initdb
        [[ -x $initdb ]] || initdb=$(command -v initdb) || true
        [[ -n $initdb && $("$initdb" --version) =~ \)\ $version([.[:space:]]|$) ]] ||
            die "the data in $data was made by PostgreSQL $version, which is not installed.
  Install postgresql-$version, or remove $dir and $data to start with an empty database."
    else
        initdb=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n1)
        [[ -x $initdb ]] || initdb=$(command -v initdb) ||
            die "PostgreSQL's initdb was found neither in /usr/lib/postgresql/*/bin nor in PATH: install the package postgresql"
    fi
    dirname "$initdb"
}

# Prints the pid of the server that runs in $data. A stale postmaster.pid may name an unrelated process,
# so only a process whose working directory is the data folder counts.
server_pid() {
    local pid
    pid=$(head -n1 "$data/postmaster.pid" 2>/dev/null) || return 1
    [[ -n $pid && /proc/$pid/cwd -ef $data ]] && echo "$pid"
}

prepare() {
    local bin pwfile port
    bin=$(find_bin)
    # An old server that is stopping may still write its last page.
    for ((i = 0; i < 300; i++)); do server_pid >/dev/null || break; sleep 0.1; done
    ! server_pid >/dev/null || die "a PostgreSQL already runs in $data (pid $(server_pid)); stop it with: scripts/postgres.sh stop $dir"
    rm -f "$data/postmaster.pid"

    # `ready` is written last. A cluster without it is incomplete and is made again.
    if [[ ! -f $data/ready ]]; then
        find "$data" -mindepth 1 -delete
        (umask 077 && random_hex 16 >"$dir/password")
        pwfile=$(mktemp)
        cp "$dir/password" "$pwfile"
        ((EUID != 0)) || chown "$account:" "$pwfile"
        # `password` instead of scram: in a debug build the client's part of scram takes 100 ms for each
        # connection, and nobody can listen on loopback.
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
    # The death signal must be set last, because the kernel clears it when the account changes.
    cd /
    exec setsid "${AS[@]}" setpriv --pdeathsig INT -- "$bin/postgres" -D "$data" -p "$(<"$dir/port")" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c logging_collector=off \
        "${options[@]}" >>"$dir/log" 2>&1
}

wait_ready() {
    local bin
    bin=$(find_bin)
    for ((i = 0; i < 600; i++)); do
        # Check that it is our server and not another one that took the port meanwhile.
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
        # The shell in between lives as long as the server, because the server ends with its parent.
        setsid "$BASH" -c '"$@" & wait' - "$0" run "$dir" "${throwaway[@]}" </dev/null >/dev/null 2>&1 &
        wait_ready $!
        ;;
    *) usage ;;
esac
