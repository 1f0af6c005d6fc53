# shellcheck shell=bash
# Writes what was measured into docs/performance.md, between its marks.

write_document() {
    local document=$ROOT/docs/performance.md new=$work/performance.md
    figures >"$work/figures.md"
    if [[ -f $document ]]; then
        awk -v figures="$work/figures.md" '
            /^<!-- figures: begin/ { print; while ((getline line < figures) > 0) print line; skip = 1 }
            /^<!-- figures: end/ { skip = 0 }
            !skip && !/^<!-- figures: begin/ { print }' "$document" >"$new"
        cat "$new" >"$document"
    fi
    cat "$work/figures.md"
}

machine() {
    local model memory
    model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n1)
    memory=$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)
    echo "$(nproc) cores ($model), $memory GiB, Linux $(uname -r), $("$PG_BIN/postgres" --version | cut -d' ' -f3), $(rustc --version | cut -d' ' -f2)"
}

figures() {
    echo
    echo "Measured on $(date -u +%Y-%m-%d), $(date -u +%H:%M) UTC, at commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown): $(machine | sed 's/, \([0-9.]*\), \([0-9.]*\)$/, PostgreSQL \1, rustc \2/')."
    echo "Command: \`make bench\` (stages: ${stages[*]}). Medians of $REPEATS; smallest and largest in brackets."
    [[ -z $(values ours."${POLLS[0]}".cpu) ]] || fanout_table
    [[ -z $(values pgbench.list.8) ]] || requests_table
    [[ -z $(values delivery.p50) ]] || delivery_table
    [[ -z $(values relay.backlog) ]] || relay_table
    [[ ! -f $work/hub.txt ]] || hub_figures
    echo
}

# fan_row NAME KEY
fan_row() {
    [[ -n $(values "$2.cpu") ]] || return 0
    echo "| $1 | $(median "$2.cpu") ($(range "$2.cpu")) | $(median "$2.parked" %.0f) -> $(median "$2.memory" %.0f) | $(median "$2.last") ($(range "$2.last" %.0f)) | $(median "$2.p50") / $(median "$2.p99") |"
}

ratio_row() {
    [[ -n $(values "$2.cpu") && -n $(values "$3.cpu") ]] || return 0
    echo "| $1 | $(ratio "$2.cpu" "$3.cpu") | $(ratio "$2.memory" "$3.memory") | $(ratio "$2.last" "$3.last") | $(ratio "$2.p50" "$3.p50") / $(ratio "$2.p99" "$3.p99") |"
}

fanout_table() {
    local polls kind
    echo
    echo "### One event to N parked polls, each polling again (10 rounds a run)"
    echo
    echo "| | server CPU a delivery, us | bytes a parked poll, first -> after the rounds | publish to last delivery, ms | p50 / p99, ms |"
    echo "| --- | --- | --- | --- | --- |"
    for polls in "${POLLS[@]}"; do
        for kind in "" browser; do
            fan_row "floor, $polls${kind:+, browser\'s headers}" "floor.$polls$kind"
            fan_row "**ours**, $polls${kind:+, browser\'s headers}" "ours.$polls$kind"
            ratio_row "ours / floor" "ours.$polls$kind" "floor.$polls$kind"
            fan_row "nginx + nchan, $polls" "nchan.$polls$kind"
            ratio_row "ours / nchan" "ours.$polls$kind" "nchan.$polls$kind"
        done
    done
    echo
    echo "Goals: CPU <= 1.3 x floor, then <= 1.1 x; memory after the rounds at ${POLLS[-1]} <= 11.5 kB, then <= 2.5 kB; last delivery at ${POLLS[-1]} <= 1.15 x floor."
    echo "Missed or repeated: $(values ours.wrong | awk '{ sum += $1 } END { print sum + 0 }') of ours."
}

requests_table() {
    local what clients goal
    echo
    echo "### Requests a second"
    echo
    echo "| | connections | ours | p99, ms | pgbench, the same statements | ours / pgbench | goal |"
    echo "| --- | --- | --- | --- | --- | --- | --- |"
    for what in list comment; do
        for clients in 8 64; do
            goal=0.6
            [[ $what == list ]] || goal=0.5
            echo "| $what | $clients | $(median "ours.$what.$clients" %.0f) ($(range "ours.$what.$clients" %.0f)) | $(median "ours.$what.$clients.p99") | $(median "pgbench.$what.$clients" %.0f) ($(range "pgbench.$what.$clients" %.0f)) | $(ratio "ours.$what.$clients" "pgbench.$what.$clients") | >= $goal |"
        done
    done
}

delivery_table() {
    echo
    echo "### From a comment's POST to its delivery"
    echo
    echo "| | p50, ms | p99, ms |"
    echo "| --- | --- | --- |"
    echo "| 1 parked poll, POST start to whole delivery | $(median delivery.p50 %.2f) ($(range delivery.p50 %.2f)) | $(median delivery.p99 %.2f) |"
    echo "| the writer's own answer | $(median delivery.post %.2f) | |"
    echo "| pgbench, 1 client: the transaction; its commit alone | $(median pgbench.single.ms %.2f); $(median pgbench.single.commit %.2f) | |"
    echo "| \`discussions load\` as it comes (1,000 queues, 10 communities, 20 comments a second) | $(median users.p50 %.2f) | $(median users.p99 %.2f) |"
    echo
    echo "Goal for one poll: <= 2 x the commit's time, so $(awk -v a="$(median delivery.p50 %.9g)" -v b="$(median pgbench.single.ms %.9g)" 'BEGIN { if (b > 0) printf "%.2f", a / b }') x the transaction, $(awk -v a="$(median delivery.p50 %.9g)" -v b="$(median pgbench.single.commit %.9g)" 'BEGIN { if (b > 0) printf "%.2f", a / b }') x the commit alone."
}

relay_table() {
    echo
    echo "### Relay"
    echo
    echo "| | | goal |"
    echo "| --- | --- | --- |"
    echo "| events a second, $BACKLOG rows from SQL, start of the server included | $(median relay.backlog %.0f) ($(range relay.backlog %.0f)) | >= 10,000 |"
    echo "| rows waiting at $OFFERED rows a second offered for $OFFER_SECONDS s: median, most, at the end | $(median relay.waiting %.0f), $(median relay.waiting.most %.0f), $(median relay.waiting.last %.0f) | not growing |"
}

hub_figures() {
    echo
    echo "### The hub's operations, and how they grow (\`cargo bench --bench hub\`)"
    echo
    echo '```text'
    sed '/./,$!d' "$work/hub.txt"
    echo '```'
}
