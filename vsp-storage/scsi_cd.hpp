/// A CD drive with a disc that stays in (MMC-3). Missing: audio, writing, more than one session,
/// changing the disc.
#pragma once

#include "scsi_unit.hpp"

namespace openvhd::scsi {

class ScsiCd : public ScsiUnit {
 public:
  static constexpr std::uint32_t kBlock = 2048;
  /// `bytes`: of the disc; a last block that is not whole is not there.
  ScsiCd(ScsiIdentity identity, std::uint64_t bytes);

 protected:
  Served serve(ScsiRequest& request) noexcept override;
  void inquiry(ScsiRequest& request) noexcept override;
  std::vector<std::uint8_t> product_data(std::uint8_t page) noexcept override;
  std::vector<Known> known() const override;

 private:
  void read(ScsiRequest& request, std::uint64_t block, std::uint64_t count) noexcept;
  void read_capacity(ScsiRequest& request) noexcept;
  void read_toc(ScsiRequest& request) noexcept;
  void mode_sense(ScsiRequest& request, bool six) noexcept;
  std::uint32_t blocks_;
};

}  // namespace openvhd::scsi
