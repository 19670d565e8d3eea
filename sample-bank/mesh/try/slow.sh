#!/usr/bin/env bash
# Makes a replica slow for a minute: its process stands still for 200 of every 300 milliseconds. Ctrl-C ends that.
#
#   slow.sh PROCESS
set -euo pipefail
(($# == 1)) || {
    sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
trap 'kill -CONT "$1"' EXIT
for ((i = 0; i < 200; i++)); do
    kill -STOP "$1"
    sleep 0.2
    kill -CONT "$1"
    sleep 0.1
done
