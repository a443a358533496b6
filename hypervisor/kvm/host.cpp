#include "kvm/host.hpp"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "kvm/abi.hpp"
#include "kvm/vcpu.hpp"
#include "kvm/vm.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::array kCapabilities = {
    Capability{"irqchip", KVM_CAP_IRQCHIP, true, "PIC, I/O APIC and local APICs in the kernel"},
    Capability{"pit2", KVM_CAP_PIT2, true, "the interval timer in the kernel"},
    Capability{"user_memory", KVM_CAP_USER_MEMORY, true, "guest memory"},
    Capability{"readonly_mem", KVM_CAP_READONLY_MEM, true, "ROM"},
    Capability{"ext_cpuid", KVM_CAP_EXT_CPUID, true, "what the guest's processor is"},
    Capability{"set_tss_addr", KVM_CAP_SET_TSS_ADDR, true, "real mode on older VT-x"},
    Capability{"immediate_exit", KVM_CAP_IMMEDIATE_EXIT, true, "stopping processors"},
    Capability{"ioeventfd", KVM_CAP_IOEVENTFD, false, "register writes that wake a thread"},
    Capability{"irqfd", KVM_CAP_IRQFD, false, "interrupts without a system call"},
    Capability{"signal_msi", KVM_CAP_SIGNAL_MSI, false, "interrupts of SCSI disks"},
    Capability{"user_space_msr", KVM_CAP_X86_USER_SPACE_MSR, false, "synthetic registers"},
    Capability{"msr_filter", KVM_CAP_X86_MSR_FILTER, false, "synthetic registers"},
    Capability{"hyperv", KVM_CAP_HYPERV, false, "Hyper-V's own interface in the kernel"},
    Capability{"smm", KVM_CAP_X86_SMM, false, "Secure Boot firmware"},
    Capability{"tsc_control", KVM_CAP_TSC_CONTROL, false, "moving a guest between hosts"},
};

// mov ecx, count; loop: dec ecx; jnz loop; hlt, in real mode.
std::array<std::byte, 11> spin_code(std::uint32_t count) {
  std::array<std::byte, 11> code{std::byte{0x66},
                                 std::byte{0xb9},
                                 {},
                                 {},
                                 {},
                                 {},
                                 std::byte{0x66},
                                 std::byte{0x49},
                                 std::byte{0x75},
                                 std::byte{0xfc},
                                 std::byte{0xf4}};
  std::memcpy(&code[2], &count, sizeof count);
  return code;
}

Result<double> spin_ns(const KvmHost& host, std::uint32_t count) {
  auto memory = GuestMemory::create({.bytes = kMinMemory});
  if (!memory) return memory.error();
  const auto code = spin_code(count);
  if (const auto done = memory->write({0x1000}, code); !done) return done.error();
  auto vm = Vm::create(host, {.interrupt_chips = false});
  if (!vm) return vm.error();
  if (const auto done = vm->map(0, {0}, memory->low(), Vm::Mapping::writable); !done)
    return done.error();
  auto vcpu = Vcpu::create(host, *vm, {.id = 0, .count = 1});
  if (!vcpu) return vcpu.error();
  if (const auto done = vcpu->start_real_mode({0x1000}); !done) return done.error();
  const auto begin = std::chrono::steady_clock::now();
  const auto exit = vcpu->run();
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
  if (!exit) return exit.error();
  if (exit->kind != Exit::Kind::halted)
    return Error{.code = Errc::unsupported, .what = "KVM cannot run a loop of three instructions"};
  return took.count();
}

}  // namespace

std::span<const Capability> capabilities() noexcept { return kCapabilities; }

KvmHost::KvmHost(Fd file, std::size_t run_bytes) noexcept
    : file_{std::move(file)}, run_bytes_{run_bytes} {}

Result<KvmHost> KvmHost::open() {
  Fd file{::open("/dev/kvm", O_RDWR | O_CLOEXEC)};
  if (!file) {
    Error error = abi::failed("/dev/kvm");
    if (errno == ENOENT) error.code = Errc::not_found;
    if (errno == EACCES || errno == EPERM) error.code = Errc::denied;
    return error;
  }
  if (abi::call(file.get(), KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
    return Error{.code = Errc::unsupported, .what = "/dev/kvm: its API version is not 12"};
  const int bytes = abi::call(file.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (bytes < static_cast<int>(sizeof(kvm_run))) return abi::failed("KVM_GET_VCPU_MMAP_SIZE");
  KvmHost host{std::move(file), static_cast<std::size_t>(bytes)};
  for (const auto& capability : kCapabilities)
    if (capability.required && host.value_of(capability.number) == 0)
      return Error{.code = Errc::unsupported, .what = capability.name};
  return host;
}

int KvmHost::value_of(int capability) const noexcept {
  const int value = abi::call(file_.get(), KVM_CHECK_EXTENSION, capability);
  return value < 0 ? 0 : value;
}

std::uint32_t KvmHost::max_vcpus() const noexcept {
  const int most = value_of(KVM_CAP_MAX_VCPUS);
  if (most > 0) return static_cast<std::uint32_t>(most);
  const int some = value_of(KVM_CAP_NR_VCPUS);
  return some > 0 ? static_cast<std::uint32_t>(some) : 4;  // what the kernel's manual says
}

Result<double> instruction_ns(const KvmHost& host) {
  // The difference of two: making the first page accessible takes longer than the loop.
  constexpr std::uint32_t kFew = 1'000;
  constexpr std::uint32_t kMany = 200'000;
  const auto few = spin_ns(host, kFew);
  if (!few) return few.error();
  const auto many = spin_ns(host, kMany);
  if (!many) return many.error();
  const double ns = (*many - *few) / (2.0 * (kMany - kFew));
  return ns > 0 ? ns : 0;
}

}  // namespace openvhd::vmm
