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

constexpr std::uint64_t kMostAtOnce = kGiB;          // of one look at a map
constexpr std::uint64_t kBatchBytes = 128 * kMiB;    // copied between two looks at the map
constexpr std::size_t kBatchRanges = 16384;          // likewise
constexpr std::uint64_t kMilestoneBytes = 4 * kGiB;  // copied between two durable notes

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
  Status clear_zeros();
  Status share(std::vector<DiskRange>& rest);
  Status copy(const std::vector<DiskRange>& rest, const Milestone& milestone);
  Status copy_batch(RangeCopier& copier, std::vector<DiskRange>& batch);
  std::uint64_t size() const noexcept { return source_.geometry().virtual_size; }

  const Workshop& shop_;
  detail::DiskState& source_;
  detail::DiskState& target_;
  MovedBytes& moved_;
  Forward progress_;
  std::uint64_t total_ = 0;
};

// Also counts what is to be moved.
Status Mover::clear_zeros() {
  for (std::uint64_t at = 0; at < size();) {
    shop_.blame(source_.paths().front());
    OVHD_TRY(const MapEntry entry, source_.map({at}, std::min(size() - at, kMostAtOnce)));
    if (entry.kind == MapEntry::Kind::data) total_ += entry.length;
    if (entry.kind == MapEntry::Kind::zero) {
      shop_.blame(target_.paths().front());
      OVHD_CHECK(target_.clear({at}, entry.length, ClearKind::zero));
      moved_.cleared += entry.length;
    }
    at += entry.length;
    if (!progress_.update(0, std::max<std::uint64_t>(total_, 1))) return stopped();
  }
  return Ok{};
}

Status Mover::share(std::vector<DiskRange>& rest) {
  if (!shop_.reflink) return Ok{};
  shop_.blame(target_.paths().front());
  OVHD_TRY(
      Cloned cloned,
      clone_extents(source_, target_, {.length = size(), .total = total_, .progress = &progress_}));
  moved_.cloned += cloned.bytes;
  rest = std::move(cloned.rest);
  return Ok{};
}

Status Mover::copy_batch(RangeCopier& copier, std::vector<DiskRange>& batch) {
  shop_.blame(target_.paths().front());
  OVHD_CHECK(copier.copy(batch));
  batch.clear();
  moved_.copied = copier.copied_bytes();
  if (!progress_.update(moved_.cloned + moved_.copied, total_)) return stopped();
  return Ok{};
}

Status Mover::copy(const std::vector<DiskRange>& rest, const Milestone& milestone) {
  if (rest.empty()) return Ok{};
  OVHD_TRY(auto source,
           DiskEndpoint::open(source_, {.depth = shop_.depth, .driver = shop_.driver}));
  OVHD_TRY(auto target,
           DiskEndpoint::open(target_, {.depth = shop_.depth, .driver = shop_.driver}));
  RangeCopier copier{*source, *target, shop_.depth};
  std::vector<DiskRange> batch;
  std::uint64_t batched = 0;
  std::uint64_t noted = 0;
  for (const DiskRange& range : rest) {
    const std::uint64_t end = range.at.value + range.length;
    for (std::uint64_t at = range.at.value; at < end;) {
      shop_.blame(source_.paths().front());
      OVHD_TRY(const MapEntry entry, source_.map({at}, std::min(end - at, kBatchBytes)));
      if (entry.kind == MapEntry::Kind::data) {
        batch.push_back({{at}, entry.length});
        batched += entry.length;
      }
      at += entry.length;
      if (batched < kBatchBytes && batch.size() < kBatchRanges) continue;
      OVHD_CHECK(copy_batch(copier, batch));
      batched = 0;
      if (copier.copied_bytes() - noted < kMilestoneBytes) continue;
      noted = copier.copied_bytes();
      OVHD_CHECK(milestone(at));
    }
  }
  return copy_batch(copier, batch);
}

Status Mover::run(std::uint64_t from, const Milestone& milestone) {
  OVHD_CHECK(clear_zeros());
  std::vector<DiskRange> rest{{{from}, size() - from}};
  OVHD_CHECK(share(rest));
  std::erase_if(rest,
                [&](const DiskRange& range) { return range.at.value + range.length <= from; });
  return copy(rest, milestone);
}

}  // namespace

Status move_into(const Workshop& shop, detail::DiskState& source, detail::DiskState& target,
                 std::uint64_t from, const Milestone& milestone, MovedBytes& moved) {
  return Mover{shop, source, target, moved}.run(std::min(from, source.geometry().virtual_size),
                                                milestone);
}

}  // namespace openvhd::snapshot
