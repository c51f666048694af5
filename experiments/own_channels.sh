#!/usr/bin/env bash
# Channels from a ray tracer, and policies on them: an environment of its own, the files, their checks, and tables.
#
#     bash experiments/own_channels.sh [FOLDER]
#
# FOLDER (build/own-channels) takes the environment, 0.7 GB, and the files. PYTHON chooses the interpreter (3.11 was tried).
# Sionna RT computes on a CPU through LLVM, of which it takes the newest one here; DRJIT_LIBLLVM_PATH names another.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-build/own-channels}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}

[[ -x $folder/venv/bin/python ]] || "${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --editable ".[sionna,test]"
. "$folder/venv/bin/activate"

# with LLVM 15 and 16 the process aborts: "LLVM ERROR: Cannot select ... fminimum"
python - <<'PYTHON' || exit 1
import sys

import drjit

if drjit.detail.llvm_version() < (17,):
    sys.exit("Sionna RT needs LLVM 17 or newer: apt-get install libllvm19, or DRJIT_LIBLLVM_PATH with its place")
PYTHON

set -x
python -m pytest -q tests/examples/test_own_channels.py
python -m examples.own_channels --out "$folder/sionna.npz"
python -m examples.deepmimo_channels "$folder/stand-in" --stand-in
python -m examples.deepmimo_channels "$folder/stand-in" --out "$folder/deepmimo.npz"
for file in sionna deepmimo; do
    python -m irs_marl_env channels --check "$folder/$file.npz"
done
python -m experiments.own_channels "$folder/sionna.npz" "$folder/deepmimo.npz"
