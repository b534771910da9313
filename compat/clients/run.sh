#!/bin/sh
# Today's clients, unchanged, on our broker: kcat, confluent-kafka, kafka-python.  See FINDINGS.md beside this file.
exec "${PYTHON:-python3}" "$(dirname -- "$(readlink -f -- "$0")")/clients.py" "$@"
