/// A CD drive with a disc that stays in: vsp-storage's unit behind ATAPI. Missing: what that lacks.
#pragma once

#include "devices/ide_drive.hpp"
#include "scsi_cd.hpp"

namespace openvhd::vmm {

class AtapiCd : public IdeDrive {
 public:
  static constexpr std::uint32_t kCdSector = scsi::ScsiCd::kBlock;
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
  void sense(scsi::Sense why) noexcept;
  void answer(std::size_t bytes, std::size_t allocated) noexcept;
  void read(std::uint32_t sector, std::uint32_t count) noexcept;
  void request_sense() noexcept;
  void ask_unit() noexcept;

  scsi::ScsiCd unit_;
  std::uint32_t sectors_;
  scsi::ScsiRequest request_;
  iovec piece_{};
  std::array<std::uint8_t, 18> sense_{0x70, 0, 0, 0, 0, 0, 0, 10};
  bool dma_ = false;
  bool identifying_ = false;
  std::size_t limit_ = 0;  // bytes per piece that the guest allows
};

}  // namespace openvhd::vmm
