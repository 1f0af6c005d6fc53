# shellcheck shell=bash
# Requests a second of the list and of writing a comment, beside pgbench running the handlers' own statements; and how long
# a comment takes to reach one parked poll.

# The query whose text begins with WORDS, as .sqlx has it, in one line. $1, $2, ... become what is given.
statement() {
    local words=$1 found text index
    shift
    found=$(grep -l -F "\"query\": \"$words" .sqlx/query-*.json) || die "no query in .sqlx begins with: $words"
    [[ $(wc -l <<<"$found") == 1 ]] || die "several queries in .sqlx begin with: $words"
    text=$(sed -n 's/^  "query": "\(.*\)",$/\1/p' "$found" | sed 's/\\n/ /g; s/\\"/"/g; s/  */ /g')
    for ((index = $#; index >= 1; index--)); do text=${text//"\$$index"/"${!index}"}; done
    echo "$text;"
}

# The files that pgbench runs: what a handler sends to the database, in its order.
write_statements() {
    local text payload
    text=$(printf 'Some words of a comment. %.0s' {1..9})
    payload="{\"type\":\"new_comment\",\"community_id\":2,\"article_id\":2,\"text\":\"$text\"}"
    statement "with places as " 2 2 :user null null 20 >"$work/list.body"
    {
        echo '\set user 1'
        cat "$work/list.body"
    } >"$work/list.sql"
    payload=${payload//:/ : }
    {
        echo '\set user 1'
        echo '\set discussion 1000000000 + random(0, 199)'
        statement "select d.community_id, d.article_id, d.author_id" :discussion :user null
        statement "with counted as " :discussion null null 1 :user null "'$text'" "now()" 2 "'new_comment'" "'$payload'"
    } >"$work/comment.sql"
    # The same, written as anybody would who does not mind round trips: a transaction of five statements.
    {
        echo '\set user 1'
        echo '\set discussion 1000000000 + random(0, 199)'
        echo 'begin;'
        echo 'update discussions set comment_count = comment_count + 1 where id = :discussion;'
        echo "with one as (select nextval(pg_get_serial_sequence('comments', 'id')) as id) insert into comments (id, discussion_id, root_id, depth, author_id, text) overriding system value select id, :discussion, id, 1, :user, '$text' from one;"
        echo "insert into outbox (community_id, type, payload) values (2, 'new_comment', '$payload');"
        echo 'commit;'
    } >"$work/five.sql"
}

# pgbench_run KEY FILE CLIENTS SECONDS [OPTION...]
pgbench_run() {
    local out=$work/pgbench.out
    "$PG_BIN/pgbench" -n -M prepared -r -c "$3" -j $(($3 < 2 ? 1 : 2)) -T "$4" "${@:5}" -f "$work/$2.sql" "$DATABASE_URL" >"$out" 2>&1 ||
        { tail -n 5 "$out" >&2; die "pgbench failed; see $out"; }
    record "$1" "$(awk '/^tps = / { print $3 }' "$out")"
    record "$1.ms" "$(awk '/^latency average = / { print $4 }' "$out")"
    [[ $2 != five ]] || record "$1.commit" "$(awk '$NF == "commit;" { print $1 }' "$out")"
}

measure_requests() {
    local round clients what seconds=${BENCH_SECONDS:-6} out=$work/requests.json
    write_statements
    for ((round = 1; round <= REPEATS; round++)); do
        for what in list comment; do
            for clients in 8 64; do
                pgbench_run "pgbench.$what.$clients" "$what" "$clients" "$seconds"
                [[ $what != comment ]] || pgbench_run "pgbench.five.$clients" five "$clients" "$seconds"
                start_server
                await_relayed
                "$LOAD" --requests "$what" --connections "$clients" --seconds "$seconds" --url "$URL" --json \
                    >"$out" 2>>"$work/load.log" || die "requests failed; see $out and $work/load.log"
                stop_server
                record "ours.$what.$clients" "$(json "$out" requests_a_second)"
                record "ours.$what.$clients.p99" "$(json "$out" p99)"
            done
        done
    done
}

# One writer, one parked poll; and the same transaction by pgbench with one client.
measure_delivery() {
    local round out=$work/load.json
    write_statements
    for ((round = 1; round <= REPEATS; round++)); do
        # At the pace of the comments: a machine that rests between them is slower at each.
        pgbench_run pgbench.single five 1 5 -R 50
        start_server
        await_relayed
        "$LOAD" --url "$URL" --queues 1 --communities 1 --memberships 1 --writers 1 --rate 50 --seconds 8 --json \
            >"$out" 2>>"$work/load.log" || die "the load test found a fault; see $out"
        stop_server
        record delivery.p50 "$(json "$out" delivery p50)"
        record delivery.p99 "$(json "$out" delivery p99)"
        record delivery.post "$(json "$out" post p50)"

        start_server
        "$LOAD" --url "$URL" --server-pid "$SERVER_PID" --json >"$out" 2>>"$work/load.log" ||
            die "the load test found a fault; see $out"
        stop_server
        record users.p50 "$(json "$out" delivery p50)"
        record users.p99 "$(json "$out" delivery p99)"
        record users.p99_9 "$(json "$out" delivery p99_9)"
        record users.deliveries "$(json "$out" deliveries)"
        record users.memory "$(json "$out" bytes_a_queue_after)"
    done
}
