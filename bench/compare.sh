#!/usr/bin/env bash
# Compares vhdtool with a bare io_uring loop, fio and qemu-img, in interleaved rounds.
#   bench/compare.sh WORKDIR [--suite queue,convert,doors,merge,qos] [--only PART,...] [--rounds N]
#                    [--quick] [--json FILE]
# WORKDIR is a new or empty folder on the file system to measure, with 20 GiB free; it is emptied
# again. As root, "queue" puts its files on a RAM block device that it makes, and "reflink" mounts
# an XFS file. What each row means is in docs/benchmarks.md.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
if (($# == 0)) || [[ $1 == -* ]]; then
  sed -n '2,7s/^# \?//p' "$0" >&2
  exit 2
fi
mkdir -p "$1"
workdir=$(cd "$1" && pwd)
shift

cmake -S "$root" --preset bench >/dev/null
cmake --build "$root/build/bench" --parallel "$(nproc)" \
  --target vhdtool nbdkit_openvhd_plugin direct_copy measure raw_ring call_counter step_counter \
  qos_bench
exec python3 -B "$here/compare.py" --vhdtool "$root/build/bench/tools/vhdtool/vhdtool" \
  --tools "$root/build/bench/bench" "$workdir" "$@"
