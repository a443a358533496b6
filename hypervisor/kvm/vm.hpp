/// A virtual machine of the kernel's: its memory map and its interrupt lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <span>

#include "base/fd.hpp"
#include "kvm/host.hpp"
#include "memory/guest_memory.hpp"

namespace openvhd::vmm {

struct VmOptions {
  /// PIC, I/O APIC and local APICs in the kernel.
  bool interrupt_chips = true;
  bool interval_timer = true;  ///< With the chips: the PIT, and port 61h.
};

/// A register write that signals an eventfd instead of leaving the kernel.
struct IoEvent {
  GuestAddress at{};
  std::uint32_t width = 4;  ///< Bytes: 1, 2, 4 or 8; 0: any, where it is memory.
  bool port = true;         ///< Else memory-mapped.
  bool match = false;       ///< Only writes of `value`.
  std::uint64_t value = 0;
};

/// Thread: any, once made.
class Vm {
 public:
  enum class Mapping : std::uint8_t { writable, read_only };

  /// Errors: io, with the request that failed.
  static Result<Vm> create(const KvmHost& host, const VmOptions& options);

  /// Shows host memory to the guest; both sides are multiples of 4 KiB. It stays until unmapped.
  Status map(std::uint32_t slot, GuestAddress at, std::span<std::byte> host,
             Mapping mapping) noexcept;
  Status unmap(std::uint32_t slot) noexcept;

  /// Drives an interrupt line of both chips: 0 to 15 PIC and I/O APIC, to 23 I/O APIC alone.
  Status set_line(std::uint32_t line, bool level) noexcept;

  /// Delivers a message-signalled interrupt; one that addresses no local APIC is lost.
  Status signal_message(std::uint64_t address, std::uint32_t data) noexcept;

  /// `event` is signalled by such writes from now on; `assign` false ends it.
  Status io_event(const IoEvent& what, const Fd& event, bool assign) noexcept;
  /// Signalling `event` pulses `line` from now on; `assign` false ends it.
  Status line_event(std::uint32_t line, const Fd& event, bool assign) noexcept;

  int descriptor() const noexcept { return file_.get(); }

 private:
  explicit Vm(Fd file) noexcept : file_{std::move(file)} {}
  Fd file_;
};

}  // namespace openvhd::vmm
