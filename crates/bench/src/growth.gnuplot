# Plots how the measured costs grow. The .dat files are in the current folder; the image goes to standard output.
set terminal svg size 960,720 background "white" font "sans-serif,11"
set multiplot layout 3,2
set logscale x
set grid
set yrange [0:*]
set style data linespoints
set key left top
set title "a delivery, polls in memory"
set xlabel "parked polls"; set ylabel "ns"
plot "polls.dat" using 1:2 notitle pt 7
set title "memory of a poll, and of a queue that only is registered"
set xlabel "polls, queues"; set ylabel "bytes"
plot "polls.dat" using 1:3 title "parked" pt 7, "idle.dat" using 1:2 title "registered" pt 7
set title "a poll, by the communities of its user"
set xlabel "communities"; set ylabel "ns"
plot "communities.dat" using 1:2 title "nothing new" pt 7, "" using 1:3 title "one event" pt 7, "" using 1:4 title "park" pt 7
set title "a poll, by the events in the log"
set xlabel "events"; set ylabel "ns"
plot "events.dat" using 1:2 title "nothing new" pt 7, "" using 1:3 title "all of them, 500 at the most" pt 7
set title "one event to 1,000 polls, by queues that only exist"
set xlabel "idle queues (1: none)"; set ylabel "us"
plot "neighbours.dat" using ($1 < 1 ? 1 : $1):($2 * 1000) notitle pt 7
