#!/usr/bin/env bash
# Boots guests with vhdvmm where there is no hardware virtualization: a stock Debian kernel with
# kvm-amd under QEMU's emulator, vhdvmm in its initramfs, guests of the same kernel inside.
#   nested_test.sh VHDVMM VHDTOOL WORK
# Needs gcc, cpio, kmod, busybox-static, qemu-system-x86, seabios, ovmf, grub-pc-bin,
# grub-efi-amd64-bin, xorriso, mtools, and apt for the kernel's package. Exits 77 and says why where
# something is missing.
set -euo pipefail
vhdvmm=$(realpath "$1") vhdtool=$(realpath "$2") work=$(realpath -m "$3")
here=$(dirname "$(realpath "$0")")
limit=${NESTED_LIMIT:-900}
silence=90

skip() {
  echo "skipped: $1"
  exit 77
}

need() {
  for program in gcc cpio modinfo qemu-system-x86_64 grub-mkrescue xorriso mformat apt-get dpkg; do
    command -v "$program" >/dev/null || skip "no $program (scripts/install_packages.sh test)"
  done
  busybox=$(command -v busybox) || skip "no busybox (package busybox-static)"
  "$busybox" --list | grep -qx usleep || skip "this busybox lacks usleep: install busybox-static"
  [[ -e /usr/share/seabios/bios-256k.bin ]] || skip "no SeaBIOS (package seabios)"
  [[ -e /usr/share/OVMF/OVMF_CODE_4M.fd ]] || skip "no OVMF (package ovmf)"
  for platform in i386-pc x86_64-efi; do
    [[ -d /usr/lib/grub/$platform ]] || skip "no GRUB for $platform (package grub-*-bin)"
  done
}

# The kernel that the distribution has now, by name, through apt.
fetch_kernel() {
  local name
  name=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
    awk '/Depends: linux-image/ {print $2; exit}')
  [[ -n $name ]] || skip "apt knows no linux-image-cloud-amd64: apt-get update"
  if [[ ! -d $work/$name/boot ]]; then
    mkdir -p "$work/debs"
    (cd "$work/debs" && apt-get download "$name" >/dev/null 2>&1) || skip "apt cannot get $name"
    rm -rf "${work:?}/$name"
    dpkg -x "$work/debs/$name"_*.deb "$work/$name"
  fi
  kernel=$(echo "$work/$name"/boot/vmlinuz-*)
  modules=$(echo "$work/$name"/lib/modules/*/kernel)
}

module() {  # module PATH FOLDER
  if [[ -e $modules/$1.ko ]]; then
    cp "$modules/$1.ko" "$2/"
  else
    xz -dc "$modules/$1.ko.xz" >"$2/${1##*/}.ko"
  fi
}

tree() {  # tree FOLDER INIT
  rm -rf "$1"
  mkdir -p "$1"/{bin,m,proc,sys,dev}
  cp "$busybox" "$1/bin/busybox"
  "$busybox" --list | grep -vx busybox | while read -r name; do ln -s busybox "$1/bin/$name"; done
  install -m 755 "$2" "$1/init"
}

pack() { (cd "$1" && find . | cpio -o -H newc --quiet | gzip -1) >"$2"; }

make_guest() {
  tree "$work/guest" "$here/guest_init.sh"
  for name in scsi/scsi_common scsi/scsi_mod scsi/sd_mod ata/libata ata/ata_piix \
    virtio/virtio_ring virtio/virtio virtio/virtio_pci_modern_dev virtio/virtio_pci_legacy_dev \
    virtio/virtio_pci scsi/virtio_scsi misc/pvpanic/pvpanic misc/pvpanic/pvpanic-mmio; do
    module "drivers/$name" "$work/guest/m"
  done
  pack "$work/guest" "$work/guest.gz"
}

# A disk, and a disc, that SeaBIOS and OVMF boot: GRUB's rescue image also starts from a disk's
# first sector and from a FAT partition.
make_disks() {
  rm -rf "$work/iso" "$work"/*.vhdx "$work"/*.avhdx
  mkdir -p "$work/iso/boot/grub"
  cp "$kernel" "$work/iso/boot/vmlinuz"
  cp "$work/guest.gz" "$work/iso/boot/"
  cat >"$work/iso/boot/grub/grub.cfg" <<'X'
serial --unit=0 --speed=115200
terminal_output serial
if [ "$grub_platform" = efi ]; then set mode=ovmf; else set mode=seabios; fi
echo "GRUB starts the kernel for $mode"
linux /boot/vmlinuz console=ttyS0 quiet mitigations=off no_timer_check mode=$mode
initrd /boot/guest.gz
boot
X
  grub-mkrescue -o "$work/boot.raw" "$work/iso" >/dev/null 2>&1 ||
    skip "grub-mkrescue failed (packages grub-pc-bin, grub-efi-amd64-bin, xorriso, mtools)"
  truncate -s 64M "$work/boot.raw"
  "$vhdtool" convert "$work/boot.raw" "$work/boot.vhdx" --from raw >/dev/null
  rm "$work/boot.raw"
  "$vhdtool" create "$work/base.vhdx" --size 32M >/dev/null
  (cd "$work" && "$vhdtool" create middle.avhdx --type differencing --parent base.vhdx &&
    "$vhdtool" create leaf.avhdx --type differencing --parent middle.avhdx) >/dev/null
  # lidt with no table, protected mode, an interrupt.
  { printf '\xfa\x31\xc0\x8e\xd8\x0f\x01\x1e\x80\x7d\x0f\x20\xc0\x0c\x01\x0f\x22\xc0\xcd\x20\xf4'
    head -c 489 /dev/zero
    printf '\x55\xaa'
    head -c 4193792 /dev/zero; } >"$work/triple.raw"
  "$vhdtool" convert "$work/triple.raw" "$work/triple.vhdx" --from raw >/dev/null
}

make_host() {
  local host=$work/host
  tree "$host" "$here/host_init.sh"
  for name in virt/lib/irqbypass arch/x86/kvm/kvm arch/x86/kvm/kvm-amd; do
    module "$name" "$host/m"
  done
  cp "$vhdvmm" "$vhdtool" "$host/bin/"
  gcc -O2 -o "$host/bin/vm_holder" "$here/vm_holder.c"
  ldd "$vhdvmm" "$vhdtool" | grep -o '/[^ ]*\.so[^ ]*' | sort -u | while read -r library; do
    install -D "$library" "$host$library"
  done
  install -D /usr/share/seabios/bios-256k.bin "$host/usr/share/seabios/bios-256k.bin"
  for part in CODE VARS; do
    install -D "/usr/share/OVMF/OVMF_${part}_4M.fd" "$host/usr/share/OVMF/OVMF_${part}_4M.fd"
  done
  cp "$kernel" "$host/vmlinuz"
  cp "$work/guest.gz" "$work"/*.vhdx "$work"/*.avhdx "$host/"
  pack "$host" "$work/host.gz"
}

# The emulated host writes to its second serial port every few seconds. One that has not done so for
# long is frozen, whatever the guest in it does: the emulator's fault, not that of what is tested.
frozen() { (($(date +%s) - $(stat -c %Y "$work/alive") > silence)); }

# False where the emulated host froze.
run_once() {
  local emulator end=$((SECONDS + limit)) alive=yes
  : >"$work/alive"
  LD_PRELOAD=$work/lock_shim.so qemu-system-x86_64 \
    -accel tcg,thread=multi -cpu max,+svm,+npt -smp 2 -m 1536 -nographic -no-reboot -net none \
    -serial mon:stdio -serial "file:$work/alive" \
    -kernel "$kernel" -initrd "$work/host.gz" -append "console=ttyS0 quiet mitigations=off" \
    </dev/null >"$work/log" 2>&1 &
  emulator=$!
  while kill -0 "$emulator" 2>/dev/null && ((SECONDS < end)); do
    sleep 1
    if frozen; then
      alive=no
      break
    fi
  done
  kill -KILL "$emulator" 2>/dev/null || true
  wait "$emulator" || true
  [[ $alive == yes ]]
}

run() {
  gcc -shared -fPIC -O2 -o "$work/lock_shim.so" "$here/lock_shim.c" -ldl
  local attempt
  for attempt in 1 2 3; do
    run_once && return
    cp "$work/log" "$work/log.frozen$attempt"
    echo "the emulated host froze after: $(grep -a '^NESTED' "$work/log" | tail -n 1)"
  done
}

failed=0
expect() {  # expect TEXT: what the log must say
  if ! grep -aqE "$1" "$work/log"; then
    echo "missing in $work/log: $1"
    failed=1
  fi
}

expect_in() {  # expect_in STEP TEXT: what the log must say between the step before and this one
  awk -v end="NESTED $1 " '
    /^NESTED / { if (index($0, end) == 1) { printf "%s", text; exit }; text = "" }
    { text = text $0 "\n" }' "$work/log" >"$work/section"
  if ! grep -aqE "$2" "$work/section"; then
    echo "missing in step $1 of $work/log: $2"
    failed=1
  fi
}

wrote() {  # wrote STEP MODE DRIVER FIRMWARE: a guest came up, wrote, and powered off
  local sum
  sum=$({ yes "guest-$2-wrote" || true; } | head -c 1048576 | md5sum | cut -d' ' -f1)
  expect_in "$1" "^GUEST mode=$2 .* driver=$3 firmware=$4"
  expect_in "$1" "^GUEST sum=$sum irqs=[1-9]"
  expect "^NESTED $1 code=0 "
  if [[ ${5:-} != nosum ]]; then
    expect_in "$1-sum" "^$sum  -"
    expect "^NESTED $1-check code=0 "
  fi
}

judge() {
  wrote direct direct ata_piix other
  wrote seabios seabios ata_piix other
  wrote seabios-scsi seabios virtio other nosum
  wrote direct-2 direct-2 virtio other
  wrote ovmf ovmf virtio uefi
  wrote ovmf-cd ovmf virtio uefi nosum
  expect "^NESTED ovmf-cd-check code=0 "
  expect "^NESTED ovmf-variables code=0 "
  expect_in ovmf "GRUB starts the kernel for ovmf"
  expect_in ovmf-cd "^GUEST .*cpus=2 sectors=65536"
  expect "^lock-shim: in place"
  expect "vm-holder: in place"
  expect "^good +virtualization +hardware"
  expect "^NESTED doctor code=0 "
  expect "^GUEST mode=direct cpus=2 sectors=65536"
  expect_in seabios "GRUB starts the kernel for seabios"
  expect "^GUEST before=guest-di"  # what the first guest wrote, a later one read
  expect "^NESTED panic code=11 "
  expect "^NESTED reset code=10 "
  expect "^NESTED triple code=12 "
  expect "^NESTED END"
}

need
mkdir -p "$work"
begin=$SECONDS
fetch_kernel
make_guest
make_disks
make_host
prepared=$SECONDS
run
# Without carriage returns, and without what firmware sends a terminal.
tr -d '\r\000' <"$work/log" | sed 's/\x1b\[[0-9;=?]*[A-Za-z]//g' >"$work/log.clean"
mv "$work/log.clean" "$work/log"
judge
grep -aE '^(NESTED|GUEST)' "$work/log" || true
echo "prepared in $((prepared - begin)) s, ran $((SECONDS - prepared)) s"
if ((failed)); then
  tail -n 30 "$work/log"
  exit 1
fi
echo "NESTED PASS"
