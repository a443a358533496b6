#!/usr/bin/env bash
# Installs the Debian packages that this project needs. Does nothing where all are there.
#   scripts/install_packages.sh build   the library and vhdtool
#   scripts/install_packages.sh test    the same, and all that the tests use
#   scripts/install_packages.sh bench   the same, and what the benchmarks compare with
set -euo pipefail

build_packages=(
  ca-certificates g++ cmake ninja-build pkg-config ccache
  liburing-dev libnbd-dev
  libcli11-dev libfmt-dev nlohmann-json3-dev
  nbdkit nbdkit-plugin-dev libfuse3-dev fuse3
  e2fsprogs
)
test_packages=(
  libgtest-dev libbenchmark-dev python3 git strace zstd
  clang-19 libclang-rt-19-dev clang-tidy-19 clang-format-19
  qemu-utils p7zip-full libvhdi-utils libnbd-bin fio fdisk mount man-db
  doxygen dpkg-dev file
  python3-pytest python3-setuptools python3-wheel
  seabios ovmf qemu-system-x86 busybox-static cpio kmod
  grub-pc-bin grub-efi-amd64-bin grub-common xorriso mtools
)
bench_packages=(xfsprogs valgrind linux-perf util-linux qemu-system-common)

case ${1:-} in
  build) wanted=("${build_packages[@]}") ;;
  test) wanted=("${build_packages[@]}" "${test_packages[@]}") ;;
  bench) wanted=("${build_packages[@]}" "${test_packages[@]}" "${bench_packages[@]}") ;;
  *)
    sed -n '2,5s/^# \?//p' "$0" >&2
    exit 2
    ;;
esac

is_installed() {
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

missing=()
for package in "${wanted[@]}"; do
  is_installed "$package" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "packages: all ${#wanted[@]} are installed"
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "packages: run as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "packages: installing ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
"${apt[@]}" update
"${apt[@]}" install --yes --no-install-recommends "${missing[@]}" >/dev/null
