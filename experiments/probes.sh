#!/bin/sh
# The probes of all libraries, or of those named: sh experiments/probes.sh [NAME ...]. Installs into build/libraries.
set -e
cd "$(dirname "$0")/.."
if [ $# -eq 0 ]; then exec python -m experiments.probes --write; fi
exec python -m experiments.probes "$@"
