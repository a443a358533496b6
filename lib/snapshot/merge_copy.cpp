#include "snapshot/merge_copy.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/convert/convert_reflink.hpp"
#include "image/convert/endpoint_disk.hpp"
#include "snapshot/range_copier.hpp"

namespace openvhd::snapshot {
namespace {

constexpr std::uint64_t kMostAtOnce = kGiB;  // of one look at a map

/// Passes progress on, and never backwards.
class Forward final : public Progress {
 public:
  explicit Forward(Progress* to) noexcept : to_{to} {}
  bool update(std::uint64_t done, std::uint64_t total) noexcept override {
    furthest_ = std::max(furthest_, done);
    return to_ == nullptr || to_->update(std::min(furthest_, total), total);
  }

 private:
  Progress* to_;
  std::uint64_t furthest_ = 0;
};

class Mover {
 public:
  Mover(const Workshop& shop, detail::DiskState& source, detail::DiskState& target,
        MovedBytes& moved) noexcept
      : shop_{shop}, source_{source}, target_{target}, moved_{moved}, progress_{shop.progress} {}

  Status run(std::uint64_t from, const Milestone& milestone);

 private:
  Status share(std::vector<DiskRange>& rest);
  Status clear_zeros();
  Status move(const std::vector<DiskRange>& rest, const Milestone& milestone);
  std::uint64_t size() const noexcept { return source_.geometry().virtual_size; }

  const Workshop& shop_;
  detail::DiskState& source_;
  detail::DiskState& target_;
  MovedBytes& moved_;
  Forward progress_;
};

Status Mover::share(std::vector<DiskRange>& rest) {
  if (!shop_.reflink) return Ok{};
  shop_.blame(target_.paths().front());
  OVHD_TRY(
      Cloned cloned,
      clone_extents(source_, target_, {.length = size(), .total = size(), .progress = &progress_}));
  if (cloned.bytes == 0) return Ok{};
  // What is shared is left out from here on, and the zeros between with it.
  moved_.cloned += cloned.bytes;
  rest = std::move(cloned.rest);
  return clear_zeros();
}

Status Mover::clear_zeros() {
  for (std::uint64_t at = 0; at < size();) {
    shop_.blame(source_.paths().front());
    OVHD_TRY(const MapEntry entry, source_.map({at}, std::min(size() - at, kMostAtOnce)));
    if (entry.kind == MapEntry::Kind::zero) {
      shop_.blame(target_.paths().front());
      OVHD_CHECK(target_.clear({at}, entry.length, ClearKind::zero));
      moved_.cleared += entry.length;
    }
    at += entry.length;
    if (!progress_.update(0, size())) return stopped();
  }
  return Ok{};
}

Status Mover::move(const std::vector<DiskRange>& rest, const Milestone& milestone) {
  OVHD_TRY(auto source,
           DiskEndpoint::open(source_, {.depth = shop_.depth, .driver = shop_.driver}));
  // Zeros take no buffer, so that there may be more of them.
  OVHD_TRY(auto target,
           DiskEndpoint::open(target_, {.depth = 2 * shop_.depth, .driver = shop_.driver}));
  RangeCopier copier{*source, *target, shop_.depth};
  std::size_t range = 0;
  std::uint64_t at = rest.empty() ? size() : rest.front().at.value;
  std::uint64_t noted = 0;
  const auto moved_so_far = [&] { return copier.copied_bytes() + copier.cleared_bytes(); };
  // The next piece that the source holds; none at the end, and where a note is due.
  const auto next = [&]() -> Result<RangeCopier::Piece> {
    while (range < rest.size() && moved_so_far() - noted < shop_.milestone_bytes) {
      const std::uint64_t end = rest[range].at.value + rest[range].length;
      if (at >= end) {
        ++range;
        if (range < rest.size()) at = rest[range].at.value;
        continue;
      }
      if (!progress_.update(at, size())) return stopped();
      OVHD_TRY(const MapEntry entry, source->look({at}, std::min(end - at, kMostAtOnce)));
      at += entry.length;
      if (entry.kind == MapEntry::Kind::hole) continue;
      return RangeCopier::Piece{
          .at = entry.at, .length = entry.length, .zero = entry.kind == MapEntry::Kind::zero};
    }
    return RangeCopier::Piece{};
  };
  shop_.blame(target_.paths().front());
  const std::uint64_t cleared = moved_.cleared;
  while (range < rest.size()) {
    const Status outcome = copier.copy(next);
    moved_.copied = copier.copied_bytes();
    moved_.cleared = cleared + copier.cleared_bytes();
    OVHD_CHECK(outcome);
    noted = moved_so_far();
    if (range < rest.size()) OVHD_CHECK(milestone(at));
  }
  return Ok{};
}

Status Mover::run(std::uint64_t from, const Milestone& milestone) {
  std::vector<DiskRange> rest{{{from}, size() - from}};
  OVHD_CHECK(share(rest));
  return move(rest, milestone);
}

}  // namespace

Status move_into(const Workshop& shop, detail::DiskState& source, detail::DiskState& target,
                 std::uint64_t from, const Milestone& milestone, MovedBytes& moved) {
  return Mover{shop, source, target, moved}.run(std::min(from, source.geometry().virtual_size),
                                                milestone);
}

}  // namespace openvhd::snapshot
