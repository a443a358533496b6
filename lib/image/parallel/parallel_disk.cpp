#include <openvhd/parallel_disk.hpp>

#include "base/try.hpp"
#include "image/parallel/parallel_state.hpp"

namespace openvhd {

Result<ParallelDisk> ParallelDisk::open(const std::string& path, const OpenOptions& options) {
  OVHD_TRY(auto state, detail::ParallelState::open(path, options));
  return ParallelDisk{std::move(state)};
}

ParallelDisk::ParallelDisk(std::shared_ptr<detail::ParallelState> state) noexcept
    : state_{std::move(state)} {}
ParallelDisk::ParallelDisk(ParallelDisk&&) noexcept = default;
ParallelDisk& ParallelDisk::operator=(ParallelDisk&&) noexcept = default;
ParallelDisk::~ParallelDisk() = default;

Geometry ParallelDisk::geometry() const noexcept { return state_->disk().geometry(); }
Format ParallelDisk::format() const noexcept { return state_->disk().format(); }
DiskType ParallelDisk::type() const noexcept { return state_->disk().type(); }
bool ParallelDisk::writable() const noexcept { return state_->disk().writable(); }
std::vector<std::string> ParallelDisk::files() const {
  return detail::DiskState::of(state_->disk()).paths_now();
}

Status ParallelDisk::read(VirtualOffset at, std::span<std::byte> into) noexcept {
  return state_->read(at, into);
}
Status ParallelDisk::write(VirtualOffset at, std::span<const std::byte> from,
                           bool durable) noexcept {
  return state_->write(at, from, durable);
}
Status ParallelDisk::zero(VirtualOffset at, std::uint64_t length, bool durable) noexcept {
  return state_->zero(at, length, durable);
}
Status ParallelDisk::trim(VirtualOffset at, std::uint64_t length, bool durable) noexcept {
  return state_->trim(at, length, durable);
}
Status ParallelDisk::flush() noexcept { return state_->flush(); }
Result<MapEntry> ParallelDisk::map(VirtualOffset at, std::uint64_t length) noexcept {
  return state_->map(at, length);
}
Result<DiskInfo> ParallelDisk::info(bool count_blocks) noexcept {
  return state_->info(count_blocks);
}
Result<Queue> ParallelDisk::open_queue(const QueueOptions& options) noexcept {
  return state_->open_queue(options);
}
Status ParallelDisk::close() noexcept { return state_->close(); }

}  // namespace openvhd
