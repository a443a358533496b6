#!/bin/sh
# The host under test: stock kernel with kvm-amd. Each step ends in a line "NESTED name code=N".
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /tmp /dev/shm
mount -t tmpfs tmp /tmp
for module in irqbypass kvm kvm-amd; do insmod "/m/$module.ko"; done
while sleep 3; do echo alive; done >/dev/ttyS1 &
vm_holder &
now() { cut -d' ' -f1 /proc/uptime; }
step() {  # step NAME LIMIT WORDS...
  name=$1 limit=$2
  shift 2
  begin=$(now)
  timeout -s INT "$limit" "$@" </dev/null
  echo "NESTED $name code=$? from=$begin to=$(now)"
}
# The last MiB of a disk, where guests write.
cat >/bin/tail_sum <<'X'
vhdtool convert "$1" - --to raw 2>/dev/null | tail -c 1048576 | md5sum
X
console="console=ttyS0 quiet mitigations=off no_timer_check"
step doctor 60 vhdvmm doctor
step direct 120 vhdvmm run --memory 192M --cpus 2 --kernel /vmlinuz --initrd /guest.gz \
  --append "$console mode=direct" --disk /leaf.avhdx
step direct-check 30 vhdtool check /leaf.avhdx
step direct-sum 60 sh /bin/tail_sum /leaf.avhdx
step seabios 200 vhdvmm run --memory 192M --disk /boot.vhdx --exit-on reset
step seabios-check 30 vhdtool check /boot.vhdx
step seabios-sum 60 sh /bin/tail_sum /boot.vhdx
# The same image and its SCSI twin: SeaBIOS drives a virtio disk too.
step seabios-scsi 200 vhdvmm run --memory 192M --disk /boot.vhdx,bus=scsi --exit-on reset
step direct-2 120 vhdvmm run --generation 2 --memory 192M --cpus 2 --kernel /vmlinuz \
  --initrd /guest.gz --append "$console mode=direct-2" --disk /leaf.avhdx
step direct-2-check 30 vhdtool check /leaf.avhdx
step direct-2-sum 60 sh /bin/tail_sum /leaf.avhdx
# What the guests before wrote is in the parent by now.
vhdtool create /boot-middle.avhdx --type differencing --parent /boot.vhdx >/dev/null
vhdtool create /boot-leaf.avhdx --type differencing --parent /boot-middle.avhdx >/dev/null
step ovmf 250 vhdvmm run --generation 2 --memory 256M --disk /boot-leaf.avhdx --exit-on reset \
  --vars /vars.fd
step ovmf-check 30 vhdtool check /boot-leaf.avhdx
step ovmf-sum 60 sh /bin/tail_sum /boot-leaf.avhdx
step ovmf-variables 10 sh -c '! cmp /vars.fd /usr/share/OVMF/OVMF_VARS_4M.fd'
# From a disc, as the disk in front of it holds nothing.
vhdtool convert /boot.vhdx /boot.iso --to raw >/dev/null
step ovmf-cd 250 vhdvmm run --generation 2 --memory 256M --cpus 2 --disk /leaf.avhdx \
  --cdrom /boot.iso --exit-on reset --vars /vars.fd
step ovmf-cd-check 30 vhdtool check /leaf.avhdx
step panic 120 vhdvmm run --memory 192M --kernel /vmlinuz --initrd /guest.gz \
  --append "$console mode=panic" --disk /leaf.avhdx
step reset 120 vhdvmm run --generation 2 --memory 192M --kernel /vmlinuz --initrd /guest.gz \
  --append "$console reboot=a mode=reset" --disk /leaf.avhdx --exit-on reset
step triple 60 vhdvmm run --memory 32M --disk /triple.vhdx --exit-on reset
echo "NESTED END"
sleep 2
poweroff -f
