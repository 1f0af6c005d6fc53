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
    ((${#stages[@]} < ${#all[@]})) || goals_table
    [[ -z $(values ours."${POLLS[0]}".cpu) ]] || fanout_table
    [[ -z $(values pgbench.list.8) ]] || requests_table
    [[ -z $(values delivery.p50) ]] || delivery_table
    [[ -z $(values relay.backlog) ]] || relay_table
    [[ ! -f $work/connections.txt ]] || connections_figures
    [[ -z $(values nodes.parked) ]] || nodes_table
    [[ ! -f $work/hub.txt ]] || hub_figures
    [[ ! -f $work/hub.txt || ! -f $work/connections.txt ]] || growth_figures
    echo
}

# The rows that were promised, each beside its goal.
goals_table() {
    local polls most=${POLLS[-1]} cpu=() idle
    for polls in "${POLLS[@]}"; do cpu+=("$(ratio "ours.$polls.cpu" "floor.$polls.cpu")"); done
    idle=$(awk '/queues of as many users/ { bytes = $(NF - 2) } END { print bytes }' "$work/hub.txt")
    echo
    echo "| figure | goal: first, then | measured |"
    echo "| --- | --- | --- |"
    echo "| server CPU a delivery at ${POLLS[*]} polls, x floor | <= 1.3, <= 1.1 | ${cpu[*]} |"
    echo "| memory a parked poll after the rounds at $most; with a browser's headers | <= 11.5 kB, <= 2.5 kB | $(median "ours.$most.memory" %.0f) B; $(median "ours.${most}browser.memory" %.0f) B |"
    echo "| publish to last delivery at $most, x floor | <= 1.15 | $(ratio "ours.$most.last" "floor.$most.last") |"
    echo "| polls parked: sockets in one process; in memory in one process; sockets on $NODES nodes | 19,900; 100,000; 95,000, none missed | $most; $(awk '/ polls .* a delivery/ { most = $1 } END { print most }' "$work/connections.txt"); $(median nodes.parked %d), missed $(values nodes.missed | awk '{ sum += $1 } END { print sum + 0 }') |"
    echo "| a queue that is registered and not polling, of 100,000 | <= 512 B | $idle B |"
    echo "| POST of a comment to its delivery, one parked poll, x the transaction; x its commit statement | <= 2 | $(times delivery.p50 pgbench.single.ms); $(times delivery.p50 pgbench.single.commit) |"
    echo "| list of discussions at 8, 64 connections, x pgbench of the same statement | >= 0.6 | $(ratio ours.list.8 pgbench.list.8), $(ratio ours.list.64 pgbench.list.64) |"
    echo "| POST of a comment at 8, 64, x pgbench of a transaction of five statements; of the handler's two | >= 0.5 | $(ratio ours.comment.8 pgbench.five.8), $(ratio ours.comment.64 pgbench.five.64); $(ratio ours.comment.8 pgbench.comment.8), $(ratio ours.comment.64 pgbench.comment.64) |"
    echo "| relay: events a second; most rows waiting at $OFFERED a second offered | >= 10,000; not growing | $(median relay.backlog %.0f); $(median relay.waiting.most %.0f), at the end $(median relay.waiting.last %.0f) |"
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
            fan_row "floor, $polls${kind:+, with the headers of a browser}" "floor.$polls$kind"
            fan_row "**ours**, $polls${kind:+, with the headers of a browser}" "ours.$polls$kind"
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
            [[ $what == list ]] || echo "| comment, beside a transaction of five statements | $clients | | | $(median "pgbench.five.$clients" %.0f) ($(range "pgbench.five.$clients" %.0f)) | $(ratio "ours.comment.$clients" "pgbench.five.$clients") | >= 0.5 |"
        done
    done
}

# times KEY KEY: the first over the second
times() { awk -v a="$(median "$1" %.9g)" -v b="$(median "$2" %.9g)" 'BEGIN { if (b > 0) printf "%.2f", a / b }'; }

delivery_table() {
    echo
    echo "### From a comment's POST to its delivery"
    echo
    echo "| | p50, ms | p99, ms |"
    echo "| --- | --- | --- |"
    echo "| 1 parked poll, 50 comments a second: POST start to whole delivery | $(median delivery.p50 %.2f) ($(range delivery.p50 %.2f)) | $(median delivery.p99 %.2f) |"
    echo "| the writer's own answer | $(median delivery.post %.2f) | |"
    echo "| pgbench, 1 client at the same pace: the transaction of five statements; its commit statement alone | $(median pgbench.single.ms %.2f); $(median pgbench.single.commit %.2f) | |"
    echo "| \`discussions-load\` as it comes (1,000 queues, 10 communities, 20 comments a second) | $(median users.p50 %.2f) | $(median users.p99 %.2f) |"
    echo
    echo "Goal: <= 2 x the time of the commit. It is $(times delivery.p50 pgbench.single.ms) x the transaction that is committed, $(times delivery.p50 pgbench.single.commit) x the commit statement alone."
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

connections_figures() {
    echo
    echo "### Polls parked in one process, over connections in memory (\`cargo bench --bench connections\`)"
    echo
    echo '```text'
    sed '/./,$!d' "$work/connections.txt"
    echo '```'
    echo
    echo "Goals: 100,000 in one process, memory and time a poll flat from 1,000 on. Client and server share the one thread."
}

nodes_table() {
    local total
    total=$(values nodes.deliveries | awk '{ sum += $1 } END { printf "%d", sum }')
    echo
    echo "### $NODES nodes on one Redis, $NODE_QUEUES sockets each"
    echo
    echo "| | | goal |"
    echo "| --- | --- | --- |"
    echo "| polls parked at once | $(median nodes.parked %d) | $((NODES * NODE_QUEUES)) |"
    echo "| deliveries, every event written at one node and read at another | $total | |"
    echo "| missed, repeated, out of order or leaked | $(values nodes.missed | awk '{ sum += $1 } END { printf "%d", sum }') | 0 |"
    echo "| bytes a parked poll after the run (median of the nodes) | $(median nodes.memory %.0f) | |"
    echo "| POST start to delivery, p50 / p99, ms (median of the nodes; 190,000 sockets on one machine) | $(median nodes.p50) / $(median nodes.p99) | |"
}

# Plots of what grows with what, from the two benchmarks' own tables.
growth_figures() {
    local out=docs/images/growth.svg
    awk '/ polls .* ns a delivery/ { print $1, $3, $11 }' "$work/connections.txt" >"$work/polls.dat"
    awk '/queues of as many users/ { print $1, $(NF - 2) }' "$work/hub.txt" >"$work/idle.dat"
    awk '/ communities / { print $1, $3, $5, $7 }' "$work/hub.txt" >"$work/communities.dat"
    awk '/ events  / { print $1, $3, $5 }' "$work/hub.txt" >"$work/events.dat"
    awk '/ idle queues: / { print ($1 < 1 ? 1 : $1), $(NF - 1) * 1000 }' "$work/hub.txt" >"$work/neighbours.dat"
    if ! command -v gnuplot >/dev/null; then
        warn "no gnuplot: $out is left as it is"
    else
        work=$work gnuplot >"$out" <<'PLOT'
set terminal svg size 960,720 background "white" font "sans-serif,11"
set multiplot layout 3,2
set logscale x
set grid
set yrange [0:*]
set style data linespoints
set key left top
w = system("echo $work")
set title "a delivery, polls in memory"
set xlabel "parked polls"; set ylabel "ns"
plot w."/polls.dat" using 1:2 notitle pt 7
set title "memory of a poll, and of a queue that only is registered"
set xlabel "polls, queues"; set ylabel "bytes"
plot w."/polls.dat" using 1:3 title "parked" pt 7, w."/idle.dat" using 1:2 title "registered" pt 7
set title "a poll, by the communities of its user"
set xlabel "communities"; set ylabel "ns"
plot w."/communities.dat" using 1:2 title "nothing new" pt 7, "" using 1:3 title "one event" pt 7, "" using 1:4 title "park" pt 7
set title "a poll, by the events in the log"
set xlabel "events"; set ylabel "ns"
plot w."/events.dat" using 1:2 title "nothing new" pt 7, "" using 1:3 title "all of them, 500 at the most" pt 7
set title "one event to 1,000 polls, by queues that only exist"
set xlabel "idle queues (1: none)"; set ylabel "us"
plot w."/neighbours.dat" using 1:2 notitle pt 7
PLOT
    fi
    echo
    echo "### How cost grows"
    echo
    echo "![Five plots of the figures above: what a poll costs by what there is](images/growth.svg)"
    echo
    echo "A poll with nothing new costs the same whatever there is: it looks at its queue and at its place among the"
    echo "parked. What grows is what an answer has in it (events), and the search for an event among the communities of its"
    echo "reader. An event is work for the polls that it answers: to append it takes about as long beside 100,000 idle queues"
    echo "(the table above). What may rise there is the look-up of those that poll again, in a table of so many more."
}
