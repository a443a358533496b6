/// What devices are given of a machine, made of the kernel's VM.
#pragma once

#include <optional>

#include "chipset/flash.hpp"
#include "devices/virtio_pci.hpp"
#include "firmware/variable_store.hpp"
#include "kvm/vm.hpp"
#include "machine/memory_map.hpp"

namespace openvhd::vmm {

class VmMessages : public MessageSink {
 public:
  explicit VmMessages(Vm& vm) noexcept : vm_{&vm} {}
  void send(std::uint64_t address, std::uint32_t data) noexcept override {
    // A guest that asks for what no APIC takes gets nothing.
    static_cast<void>(vm_->signal_message(address, data));
  }

 private:
  Vm* vm_;
};

/// Writes to notification registers stay in the kernel: they signal an eventfd. Where the kernel
/// refuses that, they come to the device, which rings.
class VmDoorbell : public Doorbell {
 public:
  VmDoorbell(Vm& vm, Fd event) noexcept : vm_{&vm}, event_{std::move(event)} {}
  const Fd& event() const noexcept { return event_; }
  void ring() noexcept override;
  void place(std::optional<GuestAddress> first, unsigned queues) noexcept override;

 private:
  Vm* vm_;
  Fd event_;
  std::optional<GuestAddress> first_;
};

/// Flash whose content is a variable store.
class VmFlash : public FlashHost {
 public:
  VmFlash(MemoryMap& map, VariableStore& store) noexcept
      : map_{&map}, store_{&store}, flash_{store.bytes(), *this} {}
  Flash& device() noexcept { return flash_; }
  void show_array(bool array) noexcept override { map_->show_flash(array); }
  bool keep(std::uint64_t offset, std::uint64_t bytes) noexcept override {
    return store_->keep(offset, bytes);
  }

 private:
  MemoryMap* map_;
  VariableStore* store_;
  Flash flash_;
};

}  // namespace openvhd::vmm
