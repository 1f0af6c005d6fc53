#!/usr/bin/env bash
# group.sh COMMAND...: runs COMMAND, and on SIGTERM ends its whole process group. cargo and npm would
# leave their children behind. Start this script as the leader of a session.
trap 'trap "" TERM; kill -TERM 0; wait; exit 143' TERM
"$@" &
wait $!
