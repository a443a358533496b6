/// fw_cfg: how firmware reads what the machine is, by ports or by DMA. After QEMU's
/// docs/specs/fw_cfg.rst. Missing: writing to items.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "chipset/bus.hpp"
#include "memory/guest_memory.hpp"

namespace openvhd::vmm {

/// Attached at port 510h.
class FwCfg : public PortDevice {
 public:
  static constexpr std::uint16_t kPorts = 12;
  static constexpr std::size_t kMaxFiles = 64;
  static constexpr std::uint32_t kMaxTransfer = 16 << 20;  ///< Bytes of one DMA request.

  /// `memory` outlives it.
  explicit FwCfg(GuestMemory& memory);

  void add_item(std::uint16_t key, std::vector<std::byte> bytes);
  /// Name: at most 55 characters. Before the guest runs; at most kMaxFiles.
  void add_file(const std::string& name, std::vector<std::byte> bytes);

  Answer read(std::uint16_t offset, std::uint32_t width, std::uint32_t& value) noexcept override;
  Answer write(std::uint16_t offset, std::uint32_t width, std::uint32_t value) noexcept override;

 private:
  void select(std::uint16_t key) noexcept;
  std::uint8_t next_byte() noexcept;
  void transfer(GuestAddress request) noexcept;
  bool copy(GuestAddress to, std::uint32_t length) noexcept;
  void write_directory();

  GuestMemory* memory_;
  std::map<std::uint16_t, std::vector<std::byte>> items_;
  std::vector<std::pair<std::string, std::uint16_t>> files_;
  std::span<const std::byte> selected_{};
  std::uint64_t position_ = 0;
  std::uint32_t dma_high_ = 0;
};

/// `value` as a fw_cfg item of `width` bytes, little-endian.
std::vector<std::byte> little_endian(std::uint64_t value, std::size_t width);

}  // namespace openvhd::vmm
