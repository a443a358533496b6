#include "image/convert/convert_reflink.hpp"

#include <algorithm>
#include <variant>

#include "base/checked.hpp"
#include "base/try.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kAlignment = 4096;         // the block of XFS and btrfs, as they come
constexpr std::uint64_t kMostAtOnce = 256 * kMiB;  // between two looks at progress
constexpr std::size_t kMostRanges = 65536;         // after that the rest is copied
constexpr std::uint64_t kFirstTry = 1 * kMiB;      // placed before sharing is known to work

class Cloner {
 public:
  Cloner(detail::DiskState& source, detail::DiskState& target, const ClonePlan& plan) noexcept
      : source_{source}, target_{target}, leaf_{target.chain().leaf()}, plan_{plan} {}

  Result<Cloned> run();

 private:
  Status clone_data(const MapEntry& from, std::uint64_t at);
  Status clone_placed(const MapEntry& from, std::uint64_t at, const Extent& placed);
  Result<Extent> place(VirtualOffset at, std::uint64_t length) noexcept;
  /// `at` is in the target.
  void leave(std::uint64_t at, std::uint64_t length);

  detail::DiskState& source_;
  detail::DiskState& target_;
  Layer& leaf_;
  ClonePlan plan_;
  Cloned done_;
  bool works_ = true;
};

void Cloner::leave(std::uint64_t at, std::uint64_t length) {
  if (length == 0) return;
  const VirtualOffset from = plan_.source_at + at;
  auto& rest = done_.rest;
  if (!rest.empty() && rest.back().at + rest.back().length == from) {
    rest.back().length += length;
  } else {
    rest.push_back({from, length});
  }
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

// Where both files have the same remainder, the whole host blocks between are shared.
Status Cloner::clone_placed(const MapEntry& from, std::uint64_t at, const Extent& placed) {
  const std::uint64_t length = std::min(from.length, placed.length);
  const std::uint64_t remainder = placed.at.value % kAlignment;
  if (from.host_offset.value % kAlignment != remainder) {
    leave(at, length);
    return Ok{};
  }
  const std::uint64_t head = std::min(remainder == 0 ? 0 : kAlignment - remainder, length);
  const std::uint64_t middle = align_down(length - head, kAlignment);
  leave(at, head);
  if (middle != 0) {
    File& file = *source_.files()[from.layer];
    const FileOffset origin = from.host_offset + head;
    const int direct = file.async_descriptor(
        {.kind = IoCommand::Kind::read, .at = origin, .length = middle, .buffers = {}});
    // Bytes that live in memory, of a log that was replayed there, cannot be shared.
    Status shared{Error{.code = Errc::unsupported, .what = "not in the file"}};
    if (direct >= 0) {
      shared = target_.files().front()->clone_from(file, origin, placed.at + head, middle);
    }
    if (shared) {
      leaf_.wrote({at + head},
                  {.kind = Extent::Kind::data, .at = placed.at + head, .length = middle});
      done_.bytes += middle;
    } else if (shared.error().code == Errc::unsupported) {
      leave(at + head, middle);
      works_ = direct < 0;
    } else {
      return shared;
    }
  }
  leave(at + head + middle, length - head - middle);
  return Ok{};
}

Status Cloner::clone_data(const MapEntry& from, std::uint64_t at) {
  OperationTicket ticket;
  leaf_.enter(ticket);
  Status outcome{Ok{}};
  MapEntry left = from;
  // What is placed stays allocated: where sharing does not work, the rest is not placed, so that
  // the copy can leave zeros out.
  while (left.length != 0 && outcome && works_) {
    const bool proved = done_.bytes != 0;
    const auto placed = place({at}, proved ? left.length : std::min(left.length, kFirstTry));
    if (!placed) {
      outcome = placed.error();
      break;
    }
    outcome = clone_placed(left, at, *placed);
    const std::uint64_t done = std::min(left.length, placed->length);
    at += done;
    left.host_offset = left.host_offset + done;
    left.length -= done;
  }
  if (outcome) leave(at, left.length);
  leaf_.leave(ticket);
  return outcome;
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
      leave(at, std::min(sector, whole - at));
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
  leave(at, plan_.length - at);
  return std::move(done_);
}

}  // namespace

Result<Cloned> clone_extents(detail::DiskState& source, detail::DiskState& target,
                             const ClonePlan& plan) {
  return Cloner{source, target, plan}.run();
}

}  // namespace openvhd
