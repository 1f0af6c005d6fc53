#!/usr/bin/env bash
# group.sh COMMAND...: runs it, and on SIGTERM ends its whole process group. cargo and npm leave their
# own children behind when they are told to stop. To be started as the leader of a session.
trap 'trap "" TERM; kill -TERM 0; wait; exit 143' TERM
"$@" &
wait $!
