#!/usr/bin/env bash
# Compares vhdtool with qemu-img, and with copying the bytes directly, in interleaved rounds.
#   bench/compare.sh WORKDIR [--rounds N] [--only info,create,sparse,dense,reflink]
# WORKDIR is a new or empty folder on the file system to measure, with 20 GiB free; it is emptied
# again. "reflink" mounts an XFS file there and needs root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
if (($# == 0)) || [[ $1 == -* ]]; then
  sed -n '2,5s/^# \?//p' "$0" >&2
  exit 2
fi
mkdir -p "$1"
workdir=$(cd "$1" && pwd)
shift

cmake -S "$root" --preset bench >/dev/null
cmake --build "$root/build/bench" --parallel "$(nproc)" --target vhdtool direct_copy measure
exec python3 "$here/compare.py" --vhdtool "$root/build/bench/tools/vhdtool/vhdtool" \
  --tools "$root/build/bench/bench" "$workdir" "$@"
