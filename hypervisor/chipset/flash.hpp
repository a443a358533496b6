/// NOR flash with Intel's basic command set (JEDEC JEP137, command set 1), in which OVMF keeps
/// variables: blocks of 4 KiB, programmed by the byte. Missing: buffered writes, locks, suspending.
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <span>

#include "chipset/memory_bus.hpp"

namespace openvhd::vmm {

/// What holds the flash's content beyond the machine, and shows it to the guest.
class FlashHost {
 public:
  virtual ~FlashHost() = default;
  /// The guest's reads see the content (`array`), or come to Flash::read.
  virtual void show_array(bool array) noexcept = 0;
  /// [offset, offset + bytes) has changed: keeps it. False: it could not be kept.
  virtual bool keep(std::uint64_t offset, std::uint64_t bytes) noexcept = 0;
};

class Flash : public MemoryDevice {
 public:
  static constexpr std::uint64_t kBlock = 4096;

  /// `content`: whole blocks; it and `host` outlive it. It is an array at first.
  Flash(std::span<std::byte> content, FlashHost& host) noexcept : content_{content}, host_{&host} {}

  Answer read(std::uint64_t offset, std::uint32_t width, std::uint64_t& value) noexcept override;
  Answer write(std::uint64_t offset, std::uint32_t width, std::uint64_t value) noexcept override;

 private:
  enum class Mode : std::uint8_t { array, status, identity, query };
  void show(Mode mode) noexcept;
  void command(std::uint8_t code) noexcept;
  void program(std::uint64_t offset, std::uint32_t width, std::uint64_t value) noexcept;
  void erase(std::uint64_t offset) noexcept;
  std::uint8_t query_byte(std::uint64_t offset) const noexcept;

  std::span<std::byte> content_;
  FlashHost* host_;
  Mode mode_ = Mode::array;
  std::uint8_t expects_ = 0;  // the command whose second write comes next
  std::uint8_t status_ = 0x80;
};

}  // namespace openvhd::vmm
