/// A CD drive with a disc that stays in (MMC-3 over ATAPI). Missing: audio, writing, more than one
/// session, changing the disc.
#pragma once

#include "devices/ide_drive.hpp"

namespace openvhd::vmm {

class AtapiCd : public IdeDrive {
 public:
  static constexpr std::uint32_t kCdSector = 2048;
  /// `block` is the disc; it outlives the drive.
  explicit AtapiCd(Block& block) noexcept;

 protected:
  void execute(std::uint8_t code) noexcept override;
  void signature() noexcept override;
  void packet_arrived() noexcept override;
  void completed() noexcept override;
  void failed(const Error& error) noexcept override;
  void piece_waits(std::size_t bytes) noexcept override;

 private:
  void identify() noexcept;
  void sense(std::uint8_t key, std::uint8_t code) noexcept;
  void answer(std::size_t bytes, std::size_t allocated) noexcept;
  void read(std::uint32_t sector, std::uint32_t count) noexcept;
  void read_toc() noexcept;
  void mode_sense() noexcept;
  void inquiry() noexcept;
  void request_sense() noexcept;

  std::uint32_t sectors_;
  std::array<std::uint8_t, 12> packet_{};
  std::uint8_t sense_key_ = 0, sense_code_ = 0;
  bool dma_ = false;
  bool identifying_ = false;
  std::size_t limit_ = 0;  // bytes per piece that the guest allows
};

}  // namespace openvhd::vmm
