/* Keeps one machine with a processor open as long as it runs. KVM patches the kernel's code when
 * the first machine comes and when the last one goes, and when the last local APIC is switched on;
 * the emulator may go on with what it translated before, and the emulated host then hangs for
 * ever in the trap that guards the patch. With this one open nothing is patched between steps. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(void) {
  const int host = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  const int machine = host < 0 ? -1 : ioctl(host, KVM_CREATE_VM, 0);
  if (machine < 0 || ioctl(machine, KVM_CREATE_IRQCHIP, 0) < 0 ||
      ioctl(machine, KVM_CREATE_VCPU, 0) < 0) {
    perror("vm_holder");
    return 1;
  }
  puts("vm-holder: in place");
  fflush(stdout);
  for (;;) pause();
}
