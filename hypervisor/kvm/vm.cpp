#include "kvm/vm.hpp"

#include <bit>

#include "kvm/abi.hpp"

namespace openvhd::vmm {
namespace {

// In the hole below the I/O APIC's and local APIC's pages, clear of firmware at the top of 4 GiB.
constexpr std::uint64_t kTss = 0xFEFF'D000;
constexpr std::uint64_t kIdentityMap = 0xFEFF'C000;

}  // namespace

Result<Vm> Vm::create(const KvmHost& host, const VmOptions& options) {
  Fd file{abi::call(host.descriptor(), KVM_CREATE_VM, 0)};
  if (!file) return abi::failed("KVM_CREATE_VM");
  std::uint64_t identity_map = kIdentityMap;
  if (abi::call(file.get(), KVM_SET_IDENTITY_MAP_ADDR, &identity_map) != 0)
    return abi::failed("KVM_SET_IDENTITY_MAP_ADDR");
  if (abi::call(file.get(), KVM_SET_TSS_ADDR, kTss) != 0) return abi::failed("KVM_SET_TSS_ADDR");
  if (options.interrupt_chips) {
    if (abi::call(file.get(), KVM_CREATE_IRQCHIP, 0) != 0) return abi::failed("KVM_CREATE_IRQCHIP");
  }
  if (options.interrupt_chips && options.interval_timer) {
    kvm_pit_config pit{};
    pit.flags = KVM_PIT_SPEAKER_DUMMY;  // port 61 in the kernel too
    if (abi::call(file.get(), KVM_CREATE_PIT2, &pit) != 0) return abi::failed("KVM_CREATE_PIT2");
  }
  return Vm{std::move(file)};
}

Status Vm::map(std::uint32_t slot, GuestAddress at, std::span<std::byte> host,
               Mapping mapping) noexcept {
  kvm_userspace_memory_region region{};
  region.slot = slot;
  region.flags = mapping == Mapping::read_only ? KVM_MEM_READONLY : 0;
  region.guest_phys_addr = at.value;
  region.memory_size = host.size();
  region.userspace_addr = std::bit_cast<std::uint64_t>(host.data());
  if (abi::call(file_.get(), KVM_SET_USER_MEMORY_REGION, &region) != 0)
    return abi::failed("KVM_SET_USER_MEMORY_REGION");
  return Ok{};
}

Status Vm::unmap(std::uint32_t slot) noexcept {
  kvm_userspace_memory_region region{};
  region.slot = slot;
  if (abi::call(file_.get(), KVM_SET_USER_MEMORY_REGION, &region) != 0)
    return abi::failed("KVM_SET_USER_MEMORY_REGION");
  return Ok{};
}

Status Vm::set_line(std::uint32_t line, bool level) noexcept {
  kvm_irq_level irq{};
  irq.irq = line;
  irq.level = level ? 1 : 0;
  if (abi::call(file_.get(), KVM_IRQ_LINE, &irq) != 0) return abi::failed("KVM_IRQ_LINE");
  return Ok{};
}

Status Vm::signal_message(std::uint64_t address, std::uint32_t data) noexcept {
  constexpr std::uint64_t kApics = 0xfee0'0000, kApicBits = 0xfff0'0000;
  if (address >> 32 != 0 || (address & kApicBits) != kApics) return Ok{};
  kvm_msi message{};
  message.address_lo = static_cast<std::uint32_t>(address);
  message.data = data;
  if (abi::call(file_.get(), KVM_SIGNAL_MSI, &message) < 0) return abi::failed("KVM_SIGNAL_MSI");
  return Ok{};
}

Status Vm::io_event(const IoEvent& what, const Fd& event, bool assign) noexcept {
  kvm_ioeventfd io{};
  io.addr = what.at.value;
  io.len = what.width;
  io.fd = event.get();
  io.datamatch = what.value;
  io.flags = (what.port ? KVM_IOEVENTFD_FLAG_PIO : 0U) |
             (what.match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0U) |
             (assign ? 0U : KVM_IOEVENTFD_FLAG_DEASSIGN);
  if (abi::call(file_.get(), KVM_IOEVENTFD, &io) != 0) return abi::failed("KVM_IOEVENTFD");
  return Ok{};
}

Status Vm::line_event(std::uint32_t line, const Fd& event, bool assign) noexcept {
  kvm_irqfd irq{};
  irq.fd = static_cast<std::uint32_t>(event.get());
  irq.gsi = line;
  irq.flags = assign ? 0U : KVM_IRQFD_FLAG_DEASSIGN;
  if (abi::call(file_.get(), KVM_IRQFD, &irq) != 0) return abi::failed("KVM_IRQFD");
  return Ok{};
}

}  // namespace openvhd::vmm
