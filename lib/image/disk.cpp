#include <openvhd/disk.hpp>

#include "base/try.hpp"
#include "image/disk_state.hpp"

namespace openvhd {

Result<Disk> Disk::open(const std::string& path, const OpenOptions& options) {
  OVHD_TRY(auto state, detail::DiskState::open(path, options, system_host()));
  return Disk{std::move(state)};
}

Disk::Disk(std::shared_ptr<detail::DiskState> state) noexcept : state_{std::move(state)} {}
Disk::Disk(Disk&&) noexcept = default;
Disk& Disk::operator=(Disk&&) noexcept = default;
Disk::~Disk() = default;

Geometry Disk::geometry() const noexcept { return state_->geometry(); }
Format Disk::format() const noexcept { return state_->format(); }
DiskType Disk::type() const noexcept { return state_->type(); }
bool Disk::writable() const noexcept { return state_->writable(); }
const std::vector<std::string>& Disk::files() const noexcept { return state_->paths(); }

Status Disk::read(VirtualOffset at, std::span<std::byte> into) noexcept {
  return state_->read(at, into);
}

Status Disk::write(VirtualOffset at, std::span<const std::byte> from) noexcept {
  return state_->write(at, from);
}

Status Disk::zero(VirtualOffset at, std::uint64_t length) noexcept {
  return state_->clear(at, length, ClearKind::zero);
}

Status Disk::trim(VirtualOffset at, std::uint64_t length) noexcept {
  return state_->clear(at, length, ClearKind::trim);
}

Status Disk::flush() noexcept { return state_->flush(); }
Status Disk::close() noexcept { return state_->close(); }

Result<MapEntry> Disk::map(VirtualOffset at, std::uint64_t length) noexcept {
  return state_->map(at, length);
}

Result<DiskInfo> Disk::info(bool count_blocks) noexcept { return state_->info(count_blocks); }

}  // namespace openvhd
