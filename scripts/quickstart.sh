#!/usr/bin/env bash
# Installs the packages, builds an optimised vhdtool, and takes a disk with a file system on it
# from raw to VHDX to VHD and back to raw. Leaves the images in build/quickstart/disk.
set -euo pipefail
cd "$(dirname "$0")/.."

say() {
  printf '\n== %s\n' "$*"
}
run() {
  printf '$ %s\n' "$*"
  "$@"
}

say "packages"
./scripts/install_packages.sh build

say "build"
build=build/quickstart
cmake --preset release -B "$build" -DOPENVHD_BUILD_TESTS=OFF >/dev/null
cmake --build "$build" --parallel "$(nproc)"
PATH=$PWD/$build/tools/vhdtool:$PATH:/usr/sbin:/sbin

rm -rf "$build/disk"
mkdir -p "$build/disk/files"
cd "$build/disk"

say "a 1 GiB disk with an ext4 file system and some files on it"
echo "This line went through VHDX and VHD." >files/hello.txt
head -c 20M /dev/urandom >files/random.bin
truncate -s 1G disk.raw
run mkfs.ext4 -q -d files disk.raw

say "raw -> VHDX"
run vhdtool convert disk.raw disk.vhdx --from raw
run vhdtool info disk.vhdx
run vhdtool check disk.vhdx

say "VHDX -> VHD"
run vhdtool convert disk.vhdx disk.vhd
run vhdtool check disk.vhd
run vhdtool compare disk.vhdx disk.vhd

say "VHD -> raw"
run vhdtool convert disk.vhd back.raw --to raw
run cmp disk.raw back.raw
run e2fsck -fn back.raw
run debugfs -R "cat /hello.txt" back.raw

say "what the host stores"
for image in disk.raw disk.vhdx disk.vhd back.raw; do
  printf '%-10s %6s MiB long, %6s MiB stored\n' "$image" \
    "$(($(stat -c %s "$image") >> 20))" "$(($(stat -c '%b * %B' "$image") >> 20))"
done

say "done"
echo "raw -> VHDX -> VHD -> raw: the same $(stat -c %s disk.raw) bytes. Images: $build/disk"
