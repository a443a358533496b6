#include "scsi_disk.hpp"

#include <algorithm>
#include <cstring>

#include "base/checked.hpp"
#include "base/stored.hpp"

namespace openvhd::scsi {
namespace {

constexpr std::uint8_t kUnmap = 0x42;
constexpr std::size_t kPatternBytes = 128 << 10;

struct UnmapHeader {
  Be16 length;  // of what follows it
  Be16 descriptors;
  Be32 reserved;
};
static_assert(OnDisk<UnmapHeader, 8>);

struct UnmapDescriptor {
  Be64 block;
  Be32 count;
  Be32 reserved;
};
static_assert(OnDisk<UnmapDescriptor, 16>);

bool has_protection(const ScsiRequest& request) noexcept { return (request.cdb[1] & 0xe0) != 0; }

}  // namespace

ScsiDisk::ScsiDisk(ScsiIdentity identity, const DiskShape& shape)
    : ScsiUnit{std::move(identity)}, shape_{shape}, bytes_{shape.bytes} {}

std::span<const ScsiDisk::Command> ScsiDisk::commands() noexcept {
  using D = ScsiDisk;
  static constexpr std::array kCommands = {
      Command{{0x28, 10}, &D::read},
      Command{{0x2a, 10}, &D::write},
      Command{{0x88, 16}, &D::read},
      Command{{0x8a, 16}, &D::write},
      Command{{0x35, 10}, &D::synchronize},
      Command{{kUnmap, 10}, &D::unmap},
      Command{{0xa8, 12}, &D::read},
      Command{{0xaa, 12}, &D::write},
      Command{{0x08, 6}, &D::read6},
      Command{{0x0a, 6}, &D::write6},
      Command{{0x15, 6}, &D::mode_select},
      Command{{0x1a, 6}, &D::mode_sense},
      Command{{0x1b, 6}, &D::accept},  // START STOP UNIT
      Command{{0x25, 10}, &D::read_capacity10},
      Command{{0x2e, 10}, &D::write_and_verify},
      Command{{0x2f, 10}, &D::verify},
      Command{{0x41, 10}, &D::write_same},
      Command{{0x55, 10}, &D::mode_select},
      Command{{0x5a, 10}, &D::mode_sense},
      Command{{0x8e, 16}, &D::write_and_verify},
      Command{{0x8f, 16}, &D::verify},
      Command{{0x91, 16}, &D::synchronize},
      Command{{0x93, 16}, &D::write_same},
      Command{{0x9e, 16, 0x10}, &D::read_capacity16},
      Command{{0xae, 12}, &D::write_and_verify},
      Command{{0xaf, 12}, &D::verify},
  };
  return kCommands;
}

std::vector<ScsiUnit::Known> ScsiDisk::known() const {
  std::vector<Known> list;
  for (const auto& command : commands())
    if (shape_.thin || command.what.opcode != kUnmap) list.push_back(command.what);
  return list;
}

ScsiUnit::Served ScsiDisk::serve(ScsiRequest& request) noexcept {
  const auto opcode = request.cdb[0];
  for (const auto& command : commands()) {
    if (command.what.opcode != opcode) continue;
    if (command.what.action >= 0 && command.what.action != (request.cdb[1] & 0x1f)) continue;
    if (opcode == kUnmap && !shape_.thin) return Served::unknown;
    (this->*command.run)(request);
    return Served::yes;
  }
  return Served::unknown;
}

void ScsiDisk::resized(std::uint64_t bytes) noexcept {
  bytes_ = bytes;
  raise_attention(kCapacityChanged);
}

ScsiRequest::Extent ScsiDisk::extent_of(const ScsiRequest& request) noexcept {
  switch (request.cdb[0] >> 5) {  // the group says how long a command is
    case 4:
      return {big_endian(request, 2, 8), big_endian(request, 10, 4)};
    case 5:
      return {big_endian(request, 2, 4), big_endian(request, 6, 4)};
    default:
      return {big_endian(request, 2, 4), big_endian(request, 7, 2)};
  }
}

// What holds of any command with an address; a command that does not get past it has ended.
bool ScsiDisk::takes_extent(ScsiRequest& request, ScsiRequest::Extent extent,
                            bool writing) noexcept {
  if (writing && !shape_.writable)
    fail(request, kWriteProtected);
  else if (!range_fits(extent.block, extent.count, blocks()))
    fail(request, kOutOfRange);
  else
    return true;
  return false;
}

void ScsiDisk::transfer(ScsiRequest& request, ScsiRequest::Extent extent, bool writing,
                        bool durable) noexcept {
  if (!takes_extent(request, extent, writing)) return;
  move(request, {.writing = writing,
                 .durable = writing && (durable || !write_cache_),
                 .at = extent.block * shape_.logical_block,
                 .bytes = extent.count * shape_.logical_block});
}

void ScsiDisk::read6(ScsiRequest& request) noexcept {
  const auto count = request.cdb[4] == 0 ? 256U : request.cdb[4];
  transfer(request, {big_endian(request, 1, 3) & 0x1f'ffff, count}, false, false);
}

void ScsiDisk::write6(ScsiRequest& request) noexcept {
  const auto count = request.cdb[4] == 0 ? 256U : request.cdb[4];
  transfer(request, {big_endian(request, 1, 3) & 0x1f'ffff, count}, true, false);
}

void ScsiDisk::read(ScsiRequest& request) noexcept {
  if (has_protection(request)) return fail(request, kInvalidField);
  transfer(request, extent_of(request), false, false);
}

void ScsiDisk::write(ScsiRequest& request) noexcept {
  if (has_protection(request)) return fail(request, kInvalidField);
  transfer(request, extent_of(request), true, (request.cdb[1] & 0x08) != 0);
}

void ScsiDisk::write_and_verify(ScsiRequest& request) noexcept {
  if (has_protection(request) || (request.cdb[1] & 0x06) != 0) return fail(request, kInvalidField);
  transfer(request, extent_of(request), true, true);
}

void ScsiDisk::verify(ScsiRequest& request) noexcept {
  if (has_protection(request) || (request.cdb[1] & 0x06) != 0) return fail(request, kInvalidField);
  if (takes_extent(request, extent_of(request), false)) end(request);
}

void ScsiDisk::synchronize(ScsiRequest& request) noexcept {
  if (!takes_extent(request, extent_of(request), false)) return;
  if (!shape_.writable) return end(request);
  start(request, ScsiBackend::Kind::flush, nullptr);
}

void ScsiDisk::read_capacity10(ScsiRequest& request) noexcept {
  if (big_endian(request, 2, 4) != 0 || (request.cdb[8] & 1) != 0)
    return fail(request, kInvalidField);
  std::array<std::uint8_t, 8> bytes{};
  put_big_endian(bytes, 0, std::min<std::uint64_t>(blocks() - 1, 0xffff'ffff), 4);
  put_big_endian(bytes, 4, shape_.logical_block, 4);
  reply(request, bytes, bytes.size());
}

void ScsiDisk::read_capacity16(ScsiRequest& request) noexcept {
  std::array<std::uint8_t, 32> bytes{};
  put_big_endian(bytes, 0, blocks() - 1, 8);
  put_big_endian(bytes, 8, shape_.logical_block, 4);
  for (auto size = shape_.logical_block; size < shape_.physical_block; size *= 2) ++bytes[13];
  bytes[14] = shape_.thin ? 0xc0 : 0;  // LBPME, LBPRZ
  reply(request, bytes, big_endian(request, 10, 4));
}

void ScsiDisk::unmap(ScsiRequest& request) noexcept {
  const auto length = big_endian(request, 7, 2);
  if ((request.cdb[1] & 1) != 0) return fail(request, kInvalidField);  // ANCHOR
  if (!shape_.writable) return fail(request, kWriteProtected);
  if (length == 0) return end(request);
  if (length < sizeof(UnmapHeader)) return fail(request, kParameterListLength);
  if (length > sizeof(UnmapHeader) + kMostExtents * sizeof(UnmapDescriptor))
    return fail(request, kInvalidParameter);
  std::vector<std::byte> list(length);
  if (!take(request, list)) return overrun(request);
  const auto header = load<UnmapHeader>(list);
  auto rest = std::span<const std::byte>{list}.subspan(sizeof header);
  if (header.descriptors > rest.size()) return fail(request, kParameterListLength);
  rest = rest.first(align_down(header.descriptors, sizeof(UnmapDescriptor)));
  request.extents_.clear();
  for (; !rest.empty(); rest = rest.subspan(sizeof(UnmapDescriptor))) {
    const auto one = load<UnmapDescriptor>(rest);
    if (!range_fits(one.block, one.count, blocks())) return fail(request, kOutOfRange);
    if (one.count > 0)
      request.extents_.push_back(
          {one.block * shape_.logical_block, std::uint64_t{one.count} * shape_.logical_block});
  }
  IoRequest& io = request;
  io.durable = !write_cache_;
  unmap_next(request);
}

// Extents are in bytes by now; the last is done first.
void ScsiDisk::unmap_next(ScsiRequest& request) noexcept {
  if (request.extents_.empty()) return end(request);
  const auto extent = request.extents_.back();
  request.extents_.pop_back();
  IoRequest& io = request;
  io.at = {extent.block};
  io.length = extent.count;
  start(request, ScsiBackend::Kind::trim, unmap_next);
}

void ScsiDisk::write_same(ScsiRequest& request) noexcept {
  const auto extent = extent_of(request);
  const bool unmaps = (request.cdb[1] & 0x08) != 0;
  const bool no_data = request.cdb[0] == 0x93 && (request.cdb[1] & 0x01) != 0;  // NDOB
  if (has_protection(request) || (request.cdb[1] & 0x10) != 0 || (unmaps && !shape_.thin))
    return fail(request, kInvalidField);
  if (!takes_extent(request, extent, true)) return;
  if (extent.count == 0 || extent.count > kMostSame / shape_.logical_block)
    return fail(request, kInvalidField);
  std::vector<std::byte> block(shape_.logical_block);
  if (!no_data && !take(request, block)) return overrun(request);
  IoRequest& io = request;
  io.at = {extent.block * shape_.logical_block};
  io.durable = !write_cache_;
  if (std::ranges::all_of(block, [](std::byte b) { return b == std::byte{0}; })) {
    io.length = extent.count * shape_.logical_block;
    return start(request, unmaps ? ScsiBackend::Kind::trim : ScsiBackend::Kind::zero, nullptr);
  }
  request.left_ = extent.count * shape_.logical_block;
  request.pattern_.resize(std::min<std::uint64_t>(request.left_, kPatternBytes));
  for (std::size_t i = 0; i < request.pattern_.size(); i += block.size())
    std::memcpy(request.pattern_.data() + i, block.data(), block.size());
  request.piece_ = {};
  same_next(request);
}

void ScsiDisk::same_next(ScsiRequest& request) noexcept {
  IoRequest& io = request;
  io.at = io.at + request.piece_.iov_len;  // what has just been written
  if (request.left_ == 0) {
    request.pattern_ = {};
    return end(request);
  }
  request.piece_ = {.iov_base = request.pattern_.data(),
                    .iov_len = std::min<std::uint64_t>(request.left_, request.pattern_.size())};
  request.left_ -= request.piece_.iov_len;
  io.buffers = {&request.piece_, 1};
  start(request, ScsiBackend::Kind::write, same_next);
}

}  // namespace openvhd::scsi
