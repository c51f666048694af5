#!/usr/bin/env bash
# Channels from a ray tracer, and policies on them: an environment of its own, the file, its check, and a table.
#
#     bash experiments/own_channels.sh [FOLDER]
#
# FOLDER (build/own-channels) takes the environment (700 MB) and the files. PYTHON chooses the interpreter, 3.11 or newer.
# Sionna RT computes on a CPU through LLVM: DRJIT_LIBLLVM_PATH names the library, else the newest one here is taken.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-build/own-channels}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}

# LLVM 15, which Debian 12 brings, stops with "LLVM ERROR: Cannot select ... fminimum"
if [[ -z ${DRJIT_LIBLLVM_PATH:-} ]]; then
    newest=$(find /usr/lib /usr/lib64 -name 'libLLVM*.so*' -type f -printf '%f %p\n' 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)*.* /.*' | sort -V | tail -1)
    version=${newest%%[!0-9]*}
    if [[ -z $version || $version -lt 17 ]]; then
        echo "Sionna RT needs LLVM 17 or newer here: apt-get install libllvm19, or set DRJIT_LIBLLVM_PATH" >&2
        exit 1
    fi
    export DRJIT_LIBLLVM_PATH=${newest#* }
fi
echo "+ LLVM: $DRJIT_LIBLLVM_PATH"

[[ -x $folder/venv/bin/python ]] || "${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --editable ".[sionna]"
. "$folder/venv/bin/activate"

set -x
python -m examples.own_channels --out "$folder/sionna.npz"
python -m examples.deepmimo_channels --stand-in "$folder/stand-in"
python -m examples.deepmimo_channels "$folder/stand-in" --out "$folder/deepmimo.npz"
for file in sionna deepmimo; do
    python -m irs_marl_env channels --check "$folder/$file.npz"
done
python -m experiments.own_channels "$folder/sionna.npz" "$folder/deepmimo.npz"
