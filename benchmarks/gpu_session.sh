#!/bin/sh
# All that a GPU is needed for (gpu_session.py says what), where only a python3 is at hand: benchmarks/gpu_session.sh FOLDER [PART ...]
set -eu
cd "$(dirname "$0")/.."
folder=${1:?"usage: benchmarks/gpu_session.sh FOLDER [PART ...]"}
shift
exec "${PYTHON:-python3}" benchmarks/gpu_session.py --out "$folder" "$@"
