// The kernel's interface in C++. Debian 12's headers wrap flexible arrays in a helper that has no
// size in C and one byte in C++, so that request numbers made from their types are wrong here:
// requests of such types are made from the size they have in C.
#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <openvhd/error.hpp>

namespace openvhd::vmm::abi {

inline constexpr unsigned long kReadWrite = _IOC_READ | _IOC_WRITE;

constexpr unsigned long request(unsigned long direction, unsigned long number, unsigned long size) {
  return direction << _IOC_DIRSHIFT | size << _IOC_SIZESHIFT |
         static_cast<unsigned long>(KVMIO) << _IOC_TYPESHIFT | number << _IOC_NRSHIFT;
}

inline constexpr std::uint32_t kMaxCpuidEntries = 256;
struct CpuidTable {
  std::uint32_t count = kMaxCpuidEntries;
  std::uint32_t padding = 0;
  std::array<kvm_cpuid_entry2, kMaxCpuidEntries> entries{};
};
static_assert(offsetof(CpuidTable, entries) == 8);

inline constexpr auto kGetSupportedCpuid = request(kReadWrite, 0x05, 8);
inline constexpr auto kSetCpuid2 = request(_IOC_WRITE, 0x90, 8);
static_assert(kGetSupportedCpuid == 0xc008ae05 && kSetCpuid2 == 0x4008ae90);
// These have no flexible array: the header's own numbers are right.
static_assert(KVM_SET_USER_MEMORY_REGION == 0x4020ae46 && KVM_SET_SREGS == 0x4138ae84);

inline Error failed(const char* what) noexcept {
  return Error{.code = Errc::io, .sys_errno = errno, .what = what};
}

/// ioctl that a signal does not end.
template <class Argument>
int call(int fd, unsigned long number, Argument argument) noexcept {
  int result = 0;
  do {
    result = ::ioctl(fd, number, argument);
  } while (result < 0 && errno == EINTR);
  return result;
}

}  // namespace openvhd::vmm::abi
