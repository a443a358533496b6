#include "image/convert/convert_reflink.hpp"

#include <algorithm>
#include <variant>
#include <vector>

#include "base/checked.hpp"
#include "base/try.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kAlignment = 4096;         // the block of XFS and btrfs, as they come
constexpr std::uint64_t kMostAtOnce = 256 * kMiB;  // between two looks at progress
constexpr std::size_t kMostRanges = 65536;         // after that the rest is copied
constexpr std::uint64_t kFirstTry = 1 * kMiB;      // placed before sharing is known to work

/// What one call shares: blocks that lie side by side in both files. Nothing: no pieces.
struct Batch {
  struct Piece {
    VirtualOffset at{};  // in the target
    Extent placed{};
  };
  std::uint32_t layer = 0;
  FileOffset from{};
  FileOffset to{};
  std::uint64_t length = 0;
  std::vector<Piece> pieces;  // for the target's layer, which goes by its own extents

  bool goes_on(const MapEntry& entry, FileOffset at) const noexcept {
    return entry.layer == layer && entry.host_offset == from + length && at == to + length;
  }
};

class Cloner {
 public:
  Cloner(detail::DiskState& source, detail::DiskState& target, const ClonePlan& plan) noexcept
      : source_{source}, target_{target}, leaf_{target.chain().leaf()}, plan_{plan} {}
  Cloner(const Cloner&) = delete;
  Cloner& operator=(const Cloner&) = delete;
  ~Cloner() { drop_batch(); }

  Result<Cloned> run();

 private:
  Status clone_data(const MapEntry& from, std::uint64_t at);
  Status clone_placed(const MapEntry& from, std::uint64_t at, const Extent& placed);
  Status add_to_batch(const MapEntry& from, VirtualOffset at, const Extent& placed);
  Status share_batch();
  void drop_batch() noexcept;
  Result<Extent> place(VirtualOffset at, std::uint64_t length) noexcept;
  /// What is not shared, in ascending order; `at` is in the target.
  Status leave(std::uint64_t at, std::uint64_t length);
  void leave_now(std::uint64_t at, std::uint64_t length);

  detail::DiskState& source_;
  detail::DiskState& target_;
  Layer& leaf_;
  ClonePlan plan_;
  Cloned done_;
  Batch batch_;
  OperationTicket ticket_;  // in use while a batch is open
  bool works_ = true;
};

void Cloner::leave_now(std::uint64_t at, std::uint64_t length) {
  const VirtualOffset from = plan_.source_at + at;
  auto& rest = done_.rest;
  if (!rest.empty() && rest.back().at + rest.back().length == from) {
    rest.back().length += length;
  } else {
    rest.push_back({from, length});
  }
}

Status Cloner::leave(std::uint64_t at, std::uint64_t length) {
  if (length == 0) return Ok{};
  OVHD_CHECK(share_batch());
  leave_now(at, length);
  return Ok{};
}

Result<Extent> Cloner::place(VirtualOffset at, std::uint64_t length) noexcept {
  for (;;) {
    auto step = leaf_.place(at, length);
    if (const auto* extent = std::get_if<Extent>(&step)) return *extent;
    if (const auto* error = std::get_if<Error>(&step)) return *error;
    const auto* command = std::get_if<IoCommand>(&step);
    if (command == nullptr) return Error{.code = Errc::busy, .what = "placing an extent"};
    leaf_.complete(command->token, target_.files().front()->execute(*command));
  }
}

void Cloner::drop_batch() noexcept {
  if (batch_.pieces.empty()) return;
  leaf_.leave(ticket_);
  ticket_ = {};
  batch_ = {};
}

Status Cloner::share_batch() {
  if (batch_.pieces.empty()) return Ok{};
  File& file = *source_.files()[batch_.layer];
  const int direct = file.async_descriptor(
      {.kind = IoCommand::Kind::read, .at = batch_.from, .length = batch_.length, .buffers = {}});
  // Bytes that live in memory, of a log that was replayed there, cannot be shared.
  Status shared{Error{.code = Errc::unsupported, .what = "not in the file"}};
  if (direct >= 0) {
    shared = target_.files().front()->clone_from(file, batch_.from, batch_.to, batch_.length);
  }
  if (shared) {
    for (const Batch::Piece& piece : batch_.pieces) leaf_.wrote(piece.at, piece.placed);
    done_.bytes += batch_.length;
  } else if (shared.error().code == Errc::unsupported) {
    for (const Batch::Piece& piece : batch_.pieces) leave_now(piece.at.value, piece.placed.length);
    works_ = direct < 0;
    shared = Ok{};
  }
  drop_batch();
  return shared;
}

Status Cloner::add_to_batch(const MapEntry& from, VirtualOffset at, const Extent& placed) {
  if (!batch_.pieces.empty() && !batch_.goes_on(from, placed.at)) OVHD_CHECK(share_batch());
  if (batch_.pieces.empty()) {
    batch_.layer = from.layer;
    batch_.from = from.host_offset;
    batch_.to = placed.at;
    leaf_.enter(ticket_);
  }
  batch_.pieces.push_back({at, placed});
  batch_.length += placed.length;
  const bool proved = done_.bytes != 0;
  return proved && batch_.length < kMostAtOnce ? Status{Ok{}} : share_batch();
}

// Where both files have the same remainder, the whole host blocks between are shared.
Status Cloner::clone_placed(const MapEntry& from, std::uint64_t at, const Extent& placed) {
  const std::uint64_t length = std::min(from.length, placed.length);
  const std::uint64_t remainder = placed.at.value % kAlignment;
  if (from.host_offset.value % kAlignment != remainder) return leave(at, length);
  const std::uint64_t head = std::min(remainder == 0 ? 0 : kAlignment - remainder, length);
  const std::uint64_t middle = align_down(length - head, kAlignment);
  OVHD_CHECK(leave(at, head));
  if (middle != 0) {
    MapEntry part = from;
    part.host_offset = from.host_offset + head;
    OVHD_CHECK(add_to_batch(
        part, {at + head}, {.kind = Extent::Kind::data, .at = placed.at + head, .length = middle}));
  }
  return leave(at + head + middle, length - head - middle);
}

Status Cloner::clone_data(const MapEntry& from, std::uint64_t at) {
  MapEntry left = from;
  // What is placed stays allocated: where sharing does not work, the rest is not placed, so that
  // the copy can leave zeros out.
  while (left.length != 0 && works_) {
    const bool proved = done_.bytes != 0;
    OperationTicket ticket;
    leaf_.enter(ticket);
    const auto placed = place({at}, proved ? left.length : std::min(left.length, kFirstTry));
    const Status outcome = placed ? clone_placed(left, at, *placed) : Status{placed.error()};
    leaf_.leave(ticket);
    OVHD_CHECK(outcome);
    const std::uint64_t done = std::min(left.length, placed->length);
    at += done;
    left.host_offset = left.host_offset + done;
    left.length -= done;
  }
  return leave(at, left.length);
}

Result<Cloned> Cloner::run() {
  const std::uint64_t sector =
      std::max(source_.geometry().logical_sector_size, target_.geometry().logical_sector_size);
  works_ = is_multiple(plan_.source_at.value, sector);
  const std::uint64_t whole = align_down(plan_.length, sector);
  std::uint64_t at = 0;
  while (at < whole && works_ && done_.rest.size() < kMostRanges) {
    const auto mapped = source_.map(plan_.source_at + at, std::min(whole - at, kMostAtOnce));
    if (!mapped) break;  // copying the rest meets it again, and tells whose it is
    const MapEntry& entry = *mapped;
    // A run that ends inside a sector of the target cannot be placed by itself.
    const std::uint64_t length = align_down(entry.length, sector);
    if (length == 0) {
      OVHD_CHECK(leave(at, std::min(sector, whole - at)));
      at += std::min(sector, whole - at);
      continue;
    }
    MapEntry part = entry;
    part.length = length;
    if (entry.kind == MapEntry::Kind::data) OVHD_CHECK(clone_data(part, at));
    at += length;
    if (plan_.progress != nullptr && !plan_.progress->update(done_.bytes, plan_.total)) {
      return Error{.code = Errc::cancelled, .what = "stopped on request"};
    }
  }
  OVHD_CHECK(share_batch());
  OVHD_CHECK(leave(at, plan_.length - at));
  return std::move(done_);
}

}  // namespace

Result<Cloned> clone_extents(detail::DiskState& source, detail::DiskState& target,
                             const ClonePlan& plan) {
  return Cloner{source, target, plan}.run();
}

}  // namespace openvhd
