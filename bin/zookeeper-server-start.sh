#!/bin/sh
exec "$(dirname -- "$(readlink -f -- "$0")")/tidemill" zookeeper-server-start "$@"
