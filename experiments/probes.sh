#!/bin/sh
# The probes of all libraries, or of those named: sh experiments/probes.sh [NAME ...]. Installs into build/probes.
set -e
cd "$(dirname "$0")/.."
if [ $# -eq 0 ]; then exec python experiments/probes.py --write; fi
exec python experiments/probes.py "$@"
