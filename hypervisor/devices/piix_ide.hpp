/// PIIX3 IDE (290550): two channels at the legacy ports and the bus-master registers of SFF-8038i.
/// Missing: native mode, timings (remembered, without effect).
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "chipset/bus.hpp"
#include "chipset/lines.hpp"
#include "chipset/pci.hpp"
#include "devices/ide_drive.hpp"
#include "memory/guest_memory.hpp"

namespace openvhd::vmm {

/// One channel: two drives, a command block of 8 ports, a control port, 8 bus-master ports.
class IdeChannel : public IdeChannelSide {
 public:
  /// Pieces of one bus-master transfer: what a table of 64 KiB holds.
  static constexpr std::size_t kMaxPieces = 8192;

  IdeChannel(InterruptLine& line, GuestMemory& memory) noexcept;
  /// At `position` 0 or 1; the drive is the channel's.
  void insert(unsigned position, std::unique_ptr<IdeDrive> drive) noexcept;

  Answer read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept;
  Answer write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept;
  std::uint8_t alternate_status() const noexcept;
  void write_control(std::uint8_t value) noexcept;
  Answer read_master(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept;
  Answer write_master(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept;

  void interrupt() noexcept override;
  void dma_wanted() noexcept override;
  void dma_ended(bool good) noexcept override;

 private:
  IdeDrive* selected() const noexcept { return drives_[selected_].get(); }
  void update() noexcept;
  bool gather(std::uint64_t bytes, bool to_memory) noexcept;

  InterruptLine* line_;
  GuestMemory* memory_;
  std::array<std::unique_ptr<IdeDrive>, 2> drives_{};
  unsigned selected_ = 0;
  std::uint8_t control_ = 0;
  bool pending_ = false;
  bool dma_running_ = false;  // pieces_ is in use
  std::uint8_t master_command_ = 0, master_status_ = 0;
  std::uint32_t table_ = 0;
  std::vector<iovec> pieces_;
};

/// Function 1 of the south bridge, with its ports.
class PiixIde : public PciFunction {
 public:
  struct Parts {
    PortBus& bus;
    GuestMemory& memory;
    InterruptLine& primary;    ///< Line 14.
    InterruptLine& secondary;  ///< Line 15.
  };
  /// All parts outlive it.
  explicit PiixIde(const Parts& parts);
  IdeChannel& channel(unsigned which) noexcept { return channels_.at(which); }

 protected:
  void written(std::uint8_t offset, std::uint32_t width) noexcept override;

 private:
  struct CommandPorts : PortDevice {
    Answer read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept override;
    Answer write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept override;
    IdeChannel* channel = nullptr;
  };
  struct ControlPort : PortDevice {
    Answer read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept override;
    Answer write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept override;
    IdeChannel* channel = nullptr;
  };
  struct MasterPorts : PortDevice {
    Answer read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept override;
    Answer write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept override;
    std::array<IdeChannel, 2>* channels = nullptr;
  };
  PortBus* bus_;
  std::array<IdeChannel, 2> channels_;
  std::array<CommandPorts, 2> commands_;
  std::array<ControlPort, 2> controls_;
  MasterPorts masters_;
};

}  // namespace openvhd::vmm
