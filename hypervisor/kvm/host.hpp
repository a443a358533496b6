/// What the host's KVM can do. Nothing else in the tree knows whether VT-x or AMD-V is behind it.
#pragma once

#include <cstdint>
#include <openvhd/error.hpp>
#include <span>

#include "base/fd.hpp"

namespace openvhd::vmm {

/// A capability that this VMM asks for.
struct Capability {
  const char* name;
  int number;
  bool required;
  const char* why;  ///< What it is used for.
};
std::span<const Capability> capabilities() noexcept;

class KvmHost {
 public:
  /// Opens /dev/kvm. Errors: not_found, denied, io; unsupported (API version, or a required
  /// capability that is absent; `what` names it).
  static Result<KvmHost> open();

  int value_of(int capability) const noexcept;  ///< KVM_CHECK_EXTENSION; 0: absent.
  std::uint32_t max_vcpus() const noexcept;
  std::size_t run_bytes() const noexcept { return run_bytes_; }
  int descriptor() const noexcept { return file_.get(); }

 private:
  KvmHost(Fd file, std::size_t run_bytes) noexcept;
  Fd file_;
  std::size_t run_bytes_ = 0;
};

/// Nanoseconds that one guest instruction takes, from a loop of some hundred thousand: below ten on
/// hardware, hundreds where a KVM interprets the guest's ring 0. Errors: as KVM's.
Result<double> instruction_ns(const KvmHost& host);
inline constexpr double kInterpretedNs = 100;  ///< More than that is no hardware.

}  // namespace openvhd::vmm
