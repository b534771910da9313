#!/bin/sh
exec "$(dirname -- "$(readlink -f -- "$0")")/tidemill" kafka-reassign-partitions "$@"
