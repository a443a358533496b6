/// An ATA disk with 48-bit addresses (ATA/ATAPI-7). Missing: SMART, security, power states (they
/// are accepted and do nothing), TRIM, queued commands.
#pragma once

#include "devices/ide_drive.hpp"

namespace openvhd::vmm {

class AtaDisk : public IdeDrive {
 public:
  /// `block` outlives it.
  explicit AtaDisk(Block& block) noexcept;

 protected:
  void execute(std::uint8_t code) noexcept override;
  void signature() noexcept override;
  void completed() noexcept override;
  void failed(const Error& error) noexcept override;

 private:
  enum class Mode : std::uint8_t { pio, multiple, dma };
  void identify() noexcept;
  void move(bool to_memory, bool extended, Mode mode) noexcept;
  void verify(bool extended) noexcept;
  void set_features() noexcept;
  void read_max(bool extended) noexcept;
  void abort() noexcept;
  bool locate(bool extended, std::uint64_t& sector, std::uint64_t& count) const noexcept;
  void set_address(std::uint64_t sector, bool extended) noexcept;

  std::uint64_t sectors_;
  std::uint32_t multiple_ = 1;  // sectors of READ MULTIPLE
  bool write_cache_ = true;
  bool last_was_pio_read_ = false;
  std::uint8_t dma_mode_ = 2;  // multiword
};

}  // namespace openvhd::vmm
