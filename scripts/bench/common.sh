# shellcheck shell=bash
# What the stages of bench.sh share: results, servers, data.

REPEATS=${BENCH_REPEATS:-3}
read -ra POLLS <<<"${BENCH_POLLS:-1000 5000 19900}"
# The most pollers that are seeded: their ids begin at 1000.
POLLERS=20000

# record KEY VALUE: one measurement. The same key again is another one of the same thing.
record() { printf '%s\t%s\n' "$1" "$2" >>"$RESULTS"; }

values() { awk -F'\t' -v key="$1" '$1 == key { print $2 }' "$RESULTS"; }

# The median of what was recorded under KEY, by printf's FORMAT; a dash where there is nothing.
median() { values "$1" | sort -g | awk -v format="${2:-%.1f}" '{ all[NR] = $1 } END { if (NR) printf format "\n", all[int((NR + 1) / 2)]; else print "-" }'; }

# "smallest-largest" of KEY.
range() { values "$1" | sort -g | awk -v format="${2:-%.1f}" 'NR == 1 { low = $1 } { high = $1 } END { if (NR) printf format "-" format "\n", low, high }'; }

# A over B, of their medians.
ratio() { awk -v a="$(median "$1" %.9g)" -v b="$(median "$2" %.9g)" 'BEGIN { if (a != "-" && b > 0) printf "%.2f\n", a / b; else print "-" }'; }

# The number at a key of pretty-printed JSON, the first there is: json FILE KEY...; keys are looked for in order.
json() {
    local file=$1
    shift
    awk -v path="$*" 'BEGIN { count = split(path, keys, " "); at = 1 }
        index($0, "\"" keys[at] "\":") { if (at++ == count) { sub(/.*: */, ""); sub(/,$/, ""); print; exit } }' "$file"
}

sql() { "$PG_BIN/psql" "$DATABASE_URL" -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

stop_one() {
    kill -TERM "$1" 2>/dev/null || return 0
    await_end "$1" 15
}

# Starts the server under test on a free port; sets URL and SERVER_PID.
start_server() {
    local port metrics
    port=$(free_port) metrics=$(free_port)
    URL=http://127.0.0.1:$port
    METRICS_PORT=$metrics
    RUST_LOG=warn BIND_ADDR=127.0.0.1:$port METRICS_ADDR=127.0.0.1:$metrics \
        setpriv --pdeathsig TERM -- "$DISCUSSIONS" serve 2>>"$work/server.log" &
    SERVER_PID=$!
    for ((i = 0; i < 300; i++)); do
        [[ $(http_status 127.0.0.1 "$port" /health/ready) != 2?? ]] || return 0
        kill -0 "$SERVER_PID" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$work/server.log" >&2
    die "the server did not start; the end of its log is above"
}

stop_server() {
    stop_one "$SERVER_PID"
    SERVER_PID=""
}

# Users for pollbench: 1000 and on, members of one community with one discussion; user 1 writes. Community 2 has 200
# discussions, for the statements that pgbench runs.
seed_pollers() {
    "$DISCUSSIONS" migrate 2>>"$work/server.log"
    sql <<SQL
begin;
insert into users (id, username) select n, 'bench-' || n from generate_series(1000, 999 + $POLLERS) n;
insert into users (id, username) values (1, 'writer');
insert into communities (id, name, slug, kind) values (1, 'Bench', 'bench', 'private'), (2, 'Lists', 'lists', 'private');
insert into articles (id, title, slug) values (1, 'Bench', 'bench'), (2, 'Lists', 'lists');
insert into community_articles values (1, 1), (2, 2);
insert into memberships (user_id, community_id, role) select n, 1, 'member' from generate_series(1000, 999 + $POLLERS) n;
insert into memberships (user_id, community_id, role) values (1, 1, 'member'), (1, 2, 'member');
insert into discussions (id, community_id, article_id, author_id, topic, text) overriding system value
    select 1000000000 + n, 2, 2, 1, 'Topic ' || n, repeat('Some words of a discussion. ', 10) from generate_series(0, 199) n;
insert into discussions (id, community_id, article_id, author_id, topic, text) overriding system value
    values (999999999, 1, 1, 1, 'Topic', 'Text');
commit;
SQL
    # 20,000 memberships are as many rows of the outbox: numbered here, and what that leaves cleared away as autovacuum would
    # within a minute, so that the first measurement is like the others.
    start_server
    await_relayed
    stop_server
    sql -c "vacuum analyze"
}
