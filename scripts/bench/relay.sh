# shellcheck shell=bash
# The relay: how fast a backlog of rows that plain SQL wrote gets its event_ids, and whether one grows at a steady offer.

readonly BACKLOG=200000 OFFERED=5000 OFFER_SECONDS=20

# An event of about 500 bytes, for rows from SQL.
PAYLOAD="json_build_object('type', 'new_comment', 'community_id', 1, 'article_id', 1, 'discussion_id', 999999999,
    'comment_id', n, 'parent_id', null, 'depth', 1, 'text', repeat('Some words of a comment. ', 9),
    'author', json_build_object('id', 1, 'username', 'writer', 'avatar_url', null), 'comment_count', n,
    'timestamp', '2026-01-01T00:00:00Z')"

waiting() { sql -c "select count(*) from outbox where event_id is null"; }

await_relayed() {
    for ((i = 0; i < 1200; i++)); do
        [[ $(waiting) != 0 ]] || return 0
        sleep 0.1
    done
    die "the relay does not keep up: $(waiting) rows wait after two minutes"
}

# The newest event that the server's hub has.
hub_head() {
    local line
    exec 3<>"/dev/tcp/127.0.0.1/$METRICS_PORT"
    printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
    while IFS= read -r line <&3; do [[ $line != "discussions_head "* ]] || echo "${line#* }"; done
    exec 3>&-
}

assigned() { sql -c "select last_assigned from event_head"; }

measure_relay() {
    local round
    for ((round = 1; round <= REPEATS; round++)); do
        relay_backlog
        relay_steadily
        sql -c "checkpoint"
    done
}

relay_backlog() {
    local began ended
    # Written while nobody relays, so that the relay alone is timed.
    sql -c "insert into outbox (community_id, type, payload) select 1, 'new_comment', $PAYLOAD from generate_series(1, $BACKLOG) n" \
        -c "analyze outbox"
    start_relaying=$EPOCHREALTIME
    start_server
    began=$start_relaying
    until [[ $(waiting) == 0 ]]; do sleep 0.05; done
    until (($(hub_head) >= $(assigned))); do sleep 0.05; done
    ended=$EPOCHREALTIME
    record relay.backlog "$(awk -v rows=$BACKLOG -v began="$began" -v ended="$ended" 'BEGIN { print rows / (ended - began) }')"
    stop_server
}

relay_steadily() {
    local writer most=0 last=0 now
    start_server
    # A tenth of a second's rows at a time, each batch committed, at the clock's pace.
    sql -c "do \$\$
        declare start timestamptz := clock_timestamp();
        begin
            for batch in 1..$((OFFER_SECONDS * 10)) loop
                insert into outbox (community_id, type, payload)
                select 1, 'new_comment', $PAYLOAD from generate_series(1, $((OFFERED / 10))) n;
                commit;
                perform pg_sleep(greatest(0, extract(epoch from start + batch * interval '100 ms' - clock_timestamp())));
            end loop;
        end \$\$" &
    writer=$!
    for ((second = 1; second <= OFFER_SECONDS - 1; second++)); do
        sleep 1
        now=$(waiting)
        record relay.waiting "$now"
        ((now <= most)) || most=$now
        last=$now
    done
    record relay.waiting.most "$most"
    record relay.waiting.last "$last"
    wait "$writer" || die "the rows could not be offered"
    await_relayed
    (($(hub_head) == $(assigned))) || sleep 1
    (($(hub_head) == $(assigned))) || die "the hub is at $(hub_head), the relay at $(assigned)"
    stop_server
}

measure_connections() {
    run_child cargo bench --quiet --locked --bench connections >"$work/connections.txt" || die "the connections' benchmark failed"
    cat "$work/connections.txt" >&2
}

measure_hub() {
    run_child cargo bench --quiet --locked --bench hub >"$work/hub.txt" || die "the hub's benchmark failed"
    cat "$work/hub.txt" >&2
}
