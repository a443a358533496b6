#!/bin/sh
# The guest under test: drives its disk, says what it found, and ends as it is told.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in scsi_common scsi_mod libata ata_piix virtio_ring virtio virtio_pci_modern_dev \
  virtio_pci_legacy_dev virtio_pci virtio_scsi sd_mod pvpanic pvpanic-mmio; do
  insmod "/m/$module.ko"
done
word() { sed -n "s/.*\b$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
mode=$(word mode)
tries=0
while [ ! -b /dev/sda ] && [ $tries -lt 100 ]; do
  usleep 100000
  tries=$((tries + 1))
done
size=$(cat /sys/block/sda/size)
case $(readlink -f /sys/block/sda/device) in
  */virtio*) driver=virtio ;;
  */ata*) driver=ata_piix ;;
  *) driver=none ;;
esac
firmware=$([ -d /sys/firmware/efi ] && echo uefi || echo other)
echo "GUEST mode=$mode cpus=$(grep -c ^processor /proc/cpuinfo) sectors=$size driver=$driver" \
  "firmware=$firmware"
# The last MiB is the test's. What was there before, then a pattern, flushed.
at=$((size / 2048 - 1))
echo "GUEST before=$(dd if=/dev/sda bs=1M skip=$at count=1 2>/dev/null | head -c 8)"
yes "guest-$mode-wrote" | head -c 1048576 | dd of=/dev/sda bs=1M seek=$at conv=notrunc 2>/dev/null
sync
echo 3 >/proc/sys/vm/drop_caches
sum=$(dd if=/dev/sda bs=1M skip=$at count=1 2>/dev/null | md5sum | cut -d' ' -f1)
echo "GUEST sum=$sum irqs=$(grep -c "$driver" /proc/interrupts)"
case $mode in
  panic) echo c >/proc/sysrq-trigger ;;
  reset) reboot -f ;;
  *) poweroff -f ;;
esac
sleep 60
