#include "machine/vm_parts.hpp"

#include <unistd.h>

namespace openvhd::vmm {

void VmDoorbell::ring() noexcept {
  const std::uint64_t one = 1;
  // Full means rung already.
  static_cast<void>(!::write(event_.get(), &one, sizeof one));
}

void VmDoorbell::place(std::optional<GuestAddress> first, unsigned queues) noexcept {
  const auto assign = [&](GuestAddress base, bool on) {
    for (unsigned i = 0; i < queues; ++i)
      static_cast<void>(
          vm_->io_event({.at = base + i * kStride, .width = 0, .port = false}, event_, on));
  };
  if (first_) assign(*first_, false);
  first_ = first;
  if (first_) assign(*first_, true);
}

}  // namespace openvhd::vmm
