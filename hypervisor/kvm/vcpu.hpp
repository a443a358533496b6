/// A virtual processor: runs until it needs somebody, and says what it needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <span>

#include "base/fd.hpp"
#include "kvm/vm.hpp"

struct kvm_run;

namespace openvhd::vmm {

/// Why a processor came back.
struct Exit {
  enum class Kind : std::uint8_t {
    port,    ///< An IN or OUT: `data` holds `data.size() / width` items.
    memory,  ///< An access to what is not mapped: `data` is one item.
    halted,  ///< HLT without interrupt chips in the kernel.
    triple_fault,
    interrupted,   ///< kick() or a signal.
    not_emulated,  ///< The kernel met an instruction that it cannot carry out; `detail`: suberror.
    not_entered,   ///< The processor refused the state; `detail`: the hardware's reason.
    other,         ///< `detail`: KVM's exit reason.
  };
  Kind kind{};
  bool write = false;
  std::uint32_t width = 0;      ///< Bytes per item.
  std::uint64_t address = 0;    ///< Port, or guest-physical address.
  std::span<std::byte> data{};  ///< The kernel's: a read fills it in. Valid until the next run().
  std::uint64_t detail = 0;
};

struct VcpuPlace {
  std::uint32_t id = 0;     ///< The local APIC's id too.
  std::uint32_t count = 1;  ///< Processors of this machine.
};

/// Where a kernel starts that is entered in 32-bit mode: flat segments, no paging.
struct FlatStart {
  GuestAddress entry{};
  std::uint32_t ebx = 0;
  std::uint32_t esi = 0;
};

/// Thread: that which runs it; kick() from any.
class Vcpu {
 public:
  /// The processor 0 starts at the reset vector; the others wait for it. Errors: io, with the
  /// request that failed.
  static Result<Vcpu> create(const KvmHost& host, const Vm& vm, const VcpuPlace& place);
  Vcpu(Vcpu&& other) noexcept;
  Vcpu& operator=(Vcpu&&) = delete;
  ~Vcpu();

  /// Starts at `at` (below 1 MiB) in real mode with all segments 0: for tests and probes.
  Status start_real_mode(GuestAddress at) noexcept;
  Status start_flat(const FlatStart& start) noexcept;

  /// Errors: io (KVM_RUN).
  Result<Exit> run() noexcept;

  /// The next, or the present, run() comes back with `interrupted`. The caller also sends
  /// kKickSignal to the thread, whose handler does nothing.
  void kick() noexcept;
  /// Once, before the first thread: makes the signal harmless.
  static Status prepare_kicks() noexcept;
  static int kick_signal() noexcept;

 private:
  Vcpu(Fd file, std::span<std::byte> map) noexcept;
  kvm_run& shared() noexcept;
  Fd file_;
  std::span<std::byte> map_;
};

/// Gives the processor what the host supports: topology and identity are set for `place`.
Status set_cpuid(const KvmHost& host, int vcpu, const VcpuPlace& place);

}  // namespace openvhd::vmm
