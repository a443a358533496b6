#include "devices/piix_ide.hpp"

#include <algorithm>

#include "base/stored.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::array kIde = {
    PciRegister{0x00, 4, 0x7010'8086, 0},
    PciRegister{0x04, 2, 0x0000, 0x0005},  // command: I/O, bus master
    PciRegister{0x06, 2, 0x0280, 0},
    PciRegister{0x08, 4, 0x0101'8000, 0},            // class: IDE, legacy ports, bus master
    PciRegister{0x20, 4, 0x0000'0001, 0xffff'fff0},  // BAR4: bus-master registers
    PciRegister{0x40, 4, 0x8000'8000, 0xffff'ffff},  // timings; bit 15: channel decodes
    PciRegister{0x44, 1, 0x00, 0xff},
};
constexpr std::uint16_t kMasterPorts = 16;
constexpr std::array<std::uint16_t, 2> kCommandPort = {0x1f0, 0x170};
constexpr std::array<std::uint16_t, 2> kControlPortOf = {0x3f6, 0x376};

// Bus-master registers of a channel:
//   0  command  bit 0 start, bit 3 to memory
//   2  status   bit 0 active, bit 1 error (rw1c), bit 2 interrupt (rw1c), bits 5, 6 remembered
//   4  table    physical address of the descriptors
constexpr std::uint8_t kStart = 1, kToMemory = 8;
constexpr std::uint8_t kActive = 1, kError = 2, kInterrupt = 4, kRemembered = 0x60;
constexpr std::uint8_t kReset = 4, kNoInterrupt = 2;  // device control

struct Descriptor {
  Le32 base;   // 0
  Le16 bytes;  // 4  0: 64 KiB
  Le16 flags;  // 6  bit 15: the last
};
static_assert(OnDisk<Descriptor, 8>);

}  // namespace

IdeChannel::IdeChannel(InterruptLine& line, GuestMemory& memory) noexcept
    : line_{&line}, memory_{&memory} {}

void IdeChannel::insert(unsigned position, std::unique_ptr<IdeDrive> drive) noexcept {
  drive->attach(*this);
  drives_.at(position) = std::move(drive);
}

void IdeChannel::update() noexcept { line_->set(pending_ && (control_ & kNoInterrupt) == 0); }

void IdeChannel::interrupt() noexcept {
  pending_ = true;
  master_status_ |= kInterrupt;
  update();
}

std::uint8_t IdeChannel::alternate_status() const noexcept {
  const auto* drive = selected();
  return drive == nullptr ? 0 : drive->status();
}

Answer IdeChannel::read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept {
  auto* drive = selected();
  value = 0;  // what is not there keeps the lines low
  if (offset == 0) {
    if (drive != nullptr) value = drive->read_data(width);
    return Answer::ok;
  }
  if (width != 1) return Answer::bad_width;
  if (offset == 7) {
    value = alternate_status();
    pending_ = false;
    update();
  } else if (drive != nullptr) {
    value = drive->read_register(offset, (control_ & 0x80) != 0);
  }
  return Answer::ok;
}

Answer IdeChannel::write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept {
  if (offset == 0) {
    if (selected() != nullptr) selected()->write_data(value, width);
    return Answer::ok;
  }
  if (width != 1) return Answer::bad_width;
  const auto byte = static_cast<std::uint8_t>(value);
  control_ &= 0x7f;  // any write ends the view of previous contents
  if (offset == 7) {
    pending_ = false;
    update();
    if (selected() != nullptr) selected()->command(byte);
    return Answer::ok;
  }
  for (const auto& drive : drives_)
    if (drive) drive->write_register(offset, byte);
  if (offset == 6) selected_ = (byte >> 4) & 1;
  return Answer::ok;
}

void IdeChannel::write_control(std::uint8_t value) noexcept {
  const bool begins = (value & kReset) != 0 && (control_ & kReset) == 0;
  control_ = value;
  if (begins) {
    pending_ = false;
    selected_ = 0;
    for (const auto& drive : drives_)
      if (drive) drive->reset();
  }
  update();
}

Answer IdeChannel::read_master(std::uint16_t offset, std::uint32_t width,
                               std::uint32_t& value) noexcept {
  if (offset == 0 && width == 1) {
    value = master_command_;
  } else if (offset == 2 && width == 1) {
    value = master_status_;
  } else if (offset == 4 && width == 4) {
    value = table_;
  } else if (offset == 0 && width == 4) {
    value = master_command_ | static_cast<std::uint32_t>(master_status_) << 16;
  } else {
    return Answer::bad_width;
  }
  return Answer::ok;
}

Answer IdeChannel::write_master(std::uint16_t offset, std::uint32_t width,
                                std::uint32_t value) noexcept {
  const auto byte = static_cast<std::uint8_t>(value);
  if (offset == 0 && width == 1) {
    const bool starts = (byte & kStart) != 0 && (master_command_ & kStart) == 0;
    master_command_ = byte & (kStart | kToMemory);
    if (starts) {
      master_status_ |= kActive;
      dma_wanted();
    } else if ((byte & kStart) == 0) {
      master_status_ = static_cast<std::uint8_t>(master_status_ & ~kActive);
    }
  } else if (offset == 2 && width == 1) {
    master_status_ = static_cast<std::uint8_t>(
        (master_status_ & (kActive | kError | kInterrupt) & ~(byte & (kError | kInterrupt))) |
        (byte & kRemembered));
  } else if (offset == 4 && width == 4) {
    table_ = value & ~3U;
  } else {
    return Answer::bad_width;
  }
  return Answer::ok;
}

// Reads the guest's table once, entry by entry, into pieces_ of `bytes` in total.
bool IdeChannel::gather(std::uint64_t bytes, bool to_memory) noexcept {
  pieces_.clear();
  const auto use = to_memory ? GuestMemory::Use::write : GuestMemory::Use::read;
  for (std::uint64_t at = table_; bytes > 0; at += sizeof(Descriptor)) {
    std::array<std::byte, sizeof(Descriptor)> raw{};
    if (pieces_.size() == kMaxPieces || !memory_->read({at}, raw)) return false;
    const auto entry = load<Descriptor>(raw);
    const std::uint64_t length = entry.bytes == 0 ? 65'536 : entry.bytes.value();
    const auto part = std::min(length, bytes);
    const auto slice = memory_->slice({entry.base}, part, use);
    if (!slice || length % 2 != 0) return false;
    pieces_.push_back({.iov_base = slice->data(), .iov_len = part});
    bytes -= part;
    if (bytes > 0 && (entry.flags & 0x8000) != 0) return false;  // shorter than the command
  }
  return true;
}

void IdeChannel::dma_wanted() noexcept {
  auto* drive = selected();
  if (drive == nullptr || dma_running_ || (master_command_ & kStart) == 0) return;
  const auto bytes = drive->dma_bytes();
  if (bytes == 0) return;
  const bool to_memory = (master_command_ & kToMemory) != 0;
  if (to_memory != drive->dma_to_memory() || !gather(bytes, to_memory)) {
    drive->refuse_dma();
    return;
  }
  dma_running_ = true;  // until dma_ended(), which may be called from here
  drive->run_dma(pieces_);
}

void IdeChannel::dma_ended(bool good) noexcept {
  dma_running_ = false;
  master_status_ = static_cast<std::uint8_t>(master_status_ & ~kActive);
  if (!good) master_status_ |= kError;
}

PiixIde::PiixIde(const Parts& parts)
    : PciFunction{kIde},
      bus_{&parts.bus},
      channels_{IdeChannel{parts.primary, parts.memory},
                IdeChannel{parts.secondary, parts.memory}} {
  for (unsigned i = 0; i < 2; ++i) {
    commands_.at(i).channel = controls_.at(i).channel = &channels_.at(i);
    bus_->attach(kCommandPort.at(i), 8, commands_.at(i));
    bus_->attach(kControlPortOf.at(i), 1, controls_.at(i));
  }
  masters_.channels = &channels_;
}

void PiixIde::written(std::uint8_t, std::uint32_t) noexcept {
  bus_->detach(masters_);
  const auto base = static_cast<std::uint16_t>(read(0x20, 2) & 0xfff0);
  if ((read(0x04, 1) & 1) != 0 && base != 0) bus_->attach(base, kMasterPorts, masters_);
}

Answer PiixIde::CommandPorts::read(std::uint16_t offset, std::uint32_t width,
                                   std::uint32_t& value) noexcept {
  return channel->read(offset, width, value);
}
Answer PiixIde::CommandPorts::write(std::uint16_t offset, std::uint32_t width,
                                    std::uint32_t value) noexcept {
  return channel->write(offset, width, value);
}
Answer PiixIde::ControlPort::read(std::uint16_t, std::uint32_t, std::uint32_t& value) noexcept {
  value = channel->alternate_status();
  return Answer::ok;
}
Answer PiixIde::ControlPort::write(std::uint16_t, std::uint32_t, std::uint32_t value) noexcept {
  channel->write_control(static_cast<std::uint8_t>(value));
  return Answer::ok;
}
Answer PiixIde::MasterPorts::read(std::uint16_t offset, std::uint32_t width,
                                  std::uint32_t& value) noexcept {
  return (*channels)[offset / 8U].read_master(offset % 8, width, value);
}
Answer PiixIde::MasterPorts::write(std::uint16_t offset, std::uint32_t width,
                                   std::uint32_t value) noexcept {
  return (*channels)[offset / 8U].write_master(offset % 8, width, value);
}

}  // namespace openvhd::vmm
