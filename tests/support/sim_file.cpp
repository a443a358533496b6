#include "support/sim_file.hpp"

#include <algorithm>
#include <cerrno>

namespace openvhd::test {
namespace {

constexpr std::size_t kSectorBytes = 512;

bool changes(IoCommand::Kind kind) {
  return kind != IoCommand::Kind::read && kind != IoCommand::Kind::sync;
}

}  // namespace

std::int32_t SimDisk::injected(const IoCommand& command) {
  for (SimFault& fault : faults_) {
    if (fault.kind && *fault.kind != command.kind) continue;
    if (fault.nth > 0) {
      --fault.nth;
      continue;
    }
    const int error = fault.error;
    if (!fault.sticky) fault.nth = SimPower::kNever;
    return -error;
  }
  return 0;
}

/// Half of the transfers that can be cut at a sector are.
std::size_t SimDisk::shortened(std::size_t length) {
  if (!shorten_ || length <= kSectorBytes || (*shorten_)() % 2 == 0) return length;
  const std::size_t sectors = (length - 1) / kSectorBytes;
  return ((*shorten_)() % sectors + 1) * kSectorBytes;
}

std::int32_t SimDisk::read(const IoCommand& command) {
  std::size_t left = 0;
  for (const iovec& piece : command.buffers) left += piece.iov_len;
  left = shortened(left);
  std::size_t moved = 0;
  for (const iovec& piece : command.buffers) {
    const std::size_t wanted = std::min(piece.iov_len, left);
    const std::size_t got =
        now_.read(command.at.value + moved, {static_cast<std::byte*>(piece.iov_base), wanted});
    moved += got;
    left -= wanted;
    if (got < wanted) break;
  }
  return static_cast<std::int32_t>(moved);
}

std::int32_t SimDisk::write(const IoCommand& command, Op& op) {
  for (const iovec& piece : command.buffers) {
    const auto* from = static_cast<const std::byte*>(piece.iov_base);
    op.bytes.insert(op.bytes.end(), from, from + piece.iov_len);
  }
  op.bytes.resize(shortened(op.bytes.size()));
  op.length = op.bytes.size();
  const std::int32_t failed = now_.write(op.at, op.bytes);
  return failed != 0 ? failed : static_cast<std::int32_t>(op.bytes.size());
}

/// Everything up to now is on stable storage, or will never be known to be.
void SimDisk::settle(std::uint64_t tick, bool synced) {
  for (; first_unsettled_ < ops_.size(); ++first_unsettled_) {
    Op& op = ops_[first_unsettled_];
    if (synced && op.stable_at == SimPower::kNever) op.stable_at = tick;
  }
}

std::int32_t SimDisk::execute(const IoCommand& command) {
  using Kind = IoCommand::Kind;
  if (power_->is_off()) return -EIO;
  Op op{.tick = power_->tick(),
        .kind = command.kind,
        .durable = command.durable,
        .at = command.at.value,
        .length = command.length,
        .size_before = now_.size};
  op.result = injected(command);
  if (op.result == 0) {
    switch (command.kind) {
      case Kind::read:
        op.result = read(command);
        break;
      case Kind::write:
        op.result = write(command, op);
        break;
      case Kind::sync:
        break;
      case Kind::zero:
      case Kind::punch:
        if (op.length > 0) op.result = now_.zero(op.at, op.length, command.kind == Kind::punch);
        break;
      case Kind::reserve:
        if (op.length > 0) op.result = now_.reserve(op.at, op.length);
        break;
      case Kind::set_size:
        op.result = now_.set_size(op.at);
        break;
    }
  }
  const std::int32_t result = op.result;
  const std::uint64_t tick = op.tick;
  if (op.kind == Kind::write && op.durable && result >= 0) op.stable_at = tick;
  if (!changes(op.kind) || result < 0) op.bytes.clear();
  if (op.kind == Kind::sync) settle(tick, result == 0);
  ops_.push_back(std::move(op));
  return result;
}

std::int32_t SimFile::execute(const IoCommand& command) noexcept {
  if (!writable_ && changes(command.kind)) return -EBADF;
  return disk_->execute(command);
}

Result<std::uint64_t> SimFile::size() noexcept {
  if (disk_->power().is_off()) return Error{.code = Errc::io, .sys_errno = EIO, .what = "no power"};
  return disk_->now().size;
}

Result<FileRange> SimFile::next_data(FileOffset at, FileOffset end) noexcept {
  if (disk_->power().is_off()) return Error{.code = Errc::io, .sys_errno = EIO, .what = "no power"};
  return disk_->now().next_data(at.value, end.value);
}

}  // namespace openvhd::test
