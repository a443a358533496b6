#include "scsi_target.hpp"

#include <algorithm>

namespace openvhd::scsi {
namespace {

constexpr std::uint8_t kReportLuns = 0xa0;

/// Answers for a number that no unit has.
class AbsentUnit : public ScsiUnit {
 public:
  AbsentUnit() : ScsiUnit{{}} {}

 protected:
  Served serve(ScsiRequest& request) noexcept override {
    fail(request, kNoSuchUnit);
    return Served::yes;
  }
  void inquiry(ScsiRequest& request) noexcept override {
    std::array<std::uint8_t, 36> bytes{};
    bytes[0] = 0x7f;  // nothing is there, nor can be
    bytes[2] = 5;
    bytes[3] = 2;
    bytes[4] = bytes.size() - 5;
    reply(request, bytes, big_endian(request, 3, 2));
  }
  std::vector<std::uint8_t> product_data(std::uint8_t) noexcept override { return {}; }
  std::vector<Known> known() const override { return {}; }
};

}  // namespace

Status ScsiTarget::attach(std::uint16_t lun, std::unique_ptr<ScsiUnit> unit) noexcept {
  if (lun >= kMostUnits || units_.at(lun))
    return Error{.code = Errc::invalid, .what = "a SCSI target has units 0 to 63, one of each"};
  units_.at(lun) = std::move(unit);
  return Ok{};
}

ScsiUnit* ScsiTarget::unit(std::uint16_t lun) const noexcept {
  return lun < kMostUnits ? units_[lun].get() : nullptr;
}

std::uint16_t ScsiTarget::last() const noexcept {
  for (std::uint16_t lun = kMostUnits; lun > 1; --lun)
    if (units_.at(lun - 1U)) return static_cast<std::uint16_t>(lun - 1);
  return 0;
}

void ScsiTarget::reset() noexcept {
  for (const auto& unit : units_)
    if (unit) unit->raise_attention(kResetOccurred);
}

void ScsiPort::connect(std::uint16_t lun, ScsiBackend& backend) noexcept {
  backends_.at(lun) = &backend;
}

void ScsiPort::report_luns(ScsiRequest& request) noexcept {
  // SPC-4 6.33: reports 00h, 01h and 02h; there are no well-known units.
  const auto allocated = big_endian(request, 6, 4);
  if (request.cdb[2] > 2 || allocated < 16) return ScsiUnit::fail(request, kInvalidField);
  std::vector<std::uint8_t> bytes(8);
  for (std::uint16_t lun = 0; lun < ScsiTarget::kMostUnits && request.cdb[2] != 1; ++lun) {
    if (target_->unit(lun) == nullptr) continue;
    bytes.resize(bytes.size() + 8);
    bytes[bytes.size() - 7] = static_cast<std::uint8_t>(lun);  // peripheral device addressing
  }
  put_big_endian(bytes, 0, bytes.size() - 8, 4);
  ScsiUnit::reply(request, bytes, allocated);
}

void ScsiPort::absent(ScsiRequest& request) noexcept {
  AbsentUnit unit;
  unit.raise_attention(kNoSuchUnit);
  unit.execute(request);  // REQUEST SENSE reports it, INQUIRY leaves it, all others fail with it
}

void ScsiPort::execute(ScsiRequest& request) noexcept {
  request.status = ScsiStatus::good;
  request.sense_bytes = 0;
  request.overrun = request.descriptor_sense_ = false;
  request.moved = 0;
  request.next_ = nullptr;
  if (request.cdb[0] == kReportLuns) return report_luns(request);
  auto* unit = target_->unit(request.lun);
  if (unit == nullptr || backends_.at(request.lun) == nullptr) return absent(request);
  request.backend_ = backends_.at(request.lun);
  unit->execute(request);
}

}  // namespace openvhd::scsi
