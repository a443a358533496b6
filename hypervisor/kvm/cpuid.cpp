// What the guest's CPUID says: all that the kernel supports, with this machine's topology.
#include <algorithm>
#include <bit>
#include <memory>

#include "kvm/abi.hpp"
#include "kvm/vcpu.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::uint32_t kHypervisorPresent = 1U << 31;  // leaf 1, ECX
constexpr std::uint32_t kHyperThreading = 1U << 28;     // leaf 1, EDX: counts are valid

// One package, a core per processor, no threads.
void set_topology(kvm_cpuid_entry2& entry, const VcpuPlace& place) {
  const auto bits = static_cast<std::uint32_t>(std::bit_width(place.count - 1));
  switch (entry.function) {
    case 1:
      entry.ebx = (entry.ebx & 0x0000'ffff) | std::min(place.count, 255U) << 16 | place.id << 24;
      entry.ecx |= kHypervisorPresent;
      if (place.count > 1) entry.edx |= kHyperThreading;
      break;
    case 4:
      entry.eax = (entry.eax & 0x0000'3fff) | (place.count - 1) << 26;
      break;
    case 0xb:
    case 0x1f:
      // Level 0 is threads, level 1 cores, others are no levels.
      entry.eax = entry.index == 1 ? bits : 0;
      entry.ebx = entry.index == 0 ? 1 : entry.index == 1 ? place.count : 0;
      entry.ecx = entry.index | (entry.index == 0 ? 1U << 8 : entry.index == 1 ? 2U << 8 : 0);
      entry.edx = place.id;
      break;
    case 0x8000'0008:
      entry.ecx = (place.count - 1) | bits << 12;
      break;
    case 0x8000'001e:
      entry.eax = place.id;
      entry.ebx = place.id;
      entry.ecx = 0;
      break;
    default:
      break;
  }
}

}  // namespace

Status set_cpuid(const KvmHost& host, int vcpu, const VcpuPlace& place) {
  const auto table = std::make_unique<abi::CpuidTable>();
  if (abi::call(host.descriptor(), abi::kGetSupportedCpuid, table.get()) != 0)
    return abi::failed("KVM_GET_SUPPORTED_CPUID");
  if (table->count > abi::kMaxCpuidEntries)
    return Error{.code = Errc::unsupported, .what = "KVM_GET_SUPPORTED_CPUID: too many leaves"};
  for (auto& entry : std::span{table->entries}.first(table->count)) set_topology(entry, place);
  if (abi::call(vcpu, abi::kSetCpuid2, table.get()) != 0) return abi::failed("KVM_SET_CPUID2");
  return Ok{};
}

}  // namespace openvhd::vmm
