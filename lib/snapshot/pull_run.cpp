// Pulling what parents hold into their child. The child reads the same at every moment, so there
// is nothing to record: a pull that was interrupted is done again, and finds less to do.
#include <algorithm>
#include <utility>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/convert/endpoint_disk.hpp"
#include "snapshot/merge_run.hpp"
#include "snapshot/range_copier.hpp"

namespace openvhd::snapshot {
namespace {

constexpr std::uint64_t kBatchBytes = 128 * kMiB;
constexpr std::size_t kBatchRanges = 16384;

class Puller {
 public:
  Puller(const Workshop& shop, detail::DiskState& disk, bool whole_blocks) noexcept
      : shop_{shop}, disk_{disk}, whole_blocks_{whole_blocks} {}

  Status run(MergeResult& result);

 private:
  Status take(const MapEntry& entry);
  Status take_hole(std::uint64_t at, std::uint64_t length);
  Status end_block();
  Status flush_batch();
  std::uint64_t block_bytes() const noexcept { return disk_.geometry().block_size; }

  const Workshop& shop_;
  detail::DiskState& disk_;
  bool whole_blocks_;
  std::unique_ptr<DiskEndpoint> endpoint_;
  std::unique_ptr<RangeCopier> copier_;
  std::vector<DiskRange> batch_;
  std::uint64_t batched_ = 0;
  std::uint64_t cleared_ = 0;

  // Of the block that the walk is in: what is missing of it, and whether any of it is there.
  std::uint64_t block_ = 0;
  bool block_has_data_ = false;
  std::vector<DiskRange> missing_;
};

Status Puller::flush_batch() {
  OVHD_CHECK(copier_->copy(batch_));
  batch_.clear();
  batched_ = 0;
  return Ok{};
}

// Where the child is to stand alone, a block that it holds in parts is filled up with zeros.
Status Puller::end_block() {
  if (block_has_data_) {
    for (const DiskRange& range : missing_) {
      OVHD_CHECK(disk_.clear(range.at, range.length, ClearKind::zero));
      cleared_ += range.length;
    }
  }
  missing_.clear();
  block_has_data_ = false;
  return Ok{};
}

// Calls end_block() at each border that the range crosses.
Status Puller::take_hole(std::uint64_t at, std::uint64_t length) {
  const std::uint64_t end = at + length;
  while (at < end) {
    const std::uint64_t block = at / block_bytes();
    if (block != block_) OVHD_CHECK(end_block());
    block_ = block;
    const std::uint64_t until = std::min(end, (block + 1) * block_bytes());
    const bool whole = at % block_bytes() == 0 && until == (block + 1) * block_bytes();
    if (!whole) missing_.push_back({{at}, until - at});
    // Whole blocks in the middle of a hole are none that could have data: skip them at once.
    const std::uint64_t next = whole ? std::max(until, align_down(end, block_bytes())) : until;
    at = next;
  }
  return Ok{};
}

Status Puller::take(const MapEntry& entry) {
  const std::uint64_t at = entry.at.value;
  const bool own = entry.kind != MapEntry::Kind::hole && entry.layer == 0;
  const bool zero = entry.kind == MapEntry::Kind::zero && !own;
  if (whole_blocks_ && (entry.kind == MapEntry::Kind::hole || zero)) {
    return take_hole(at, entry.length);
  }
  if (zero) {
    OVHD_CHECK(disk_.clear(entry.at, entry.length, ClearKind::zero));
    cleared_ += entry.length;
    return Ok{};
  }
  if (entry.kind == MapEntry::Kind::hole) return Ok{};
  if (whole_blocks_) {
    for (const std::uint64_t edge : {at, at + entry.length - 1}) {
      if (edge / block_bytes() != block_) OVHD_CHECK(end_block());
      block_ = edge / block_bytes();
      block_has_data_ = true;
    }
  }
  if (own) return Ok{};
  batch_.push_back({entry.at, entry.length});
  batched_ += entry.length;
  return Ok{};
}

Status Puller::run(MergeResult& result) {
  // One door for both directions: the layers are the same.
  OVHD_TRY(endpoint_,
           DiskEndpoint::open(disk_, {.depth = 2 * shop_.depth, .driver = shop_.driver}));
  copier_ = std::make_unique<RangeCopier>(*endpoint_, *endpoint_, shop_.depth);
  const std::uint64_t size = disk_.geometry().virtual_size;
  for (std::uint64_t at = 0; at < size;) {
    OVHD_TRY(const MapEntry entry, disk_.map({at}, std::min(size - at, kBatchBytes)));
    OVHD_CHECK(take(entry));
    at += entry.length;
    if (batched_ >= kBatchBytes || batch_.size() >= kBatchRanges) OVHD_CHECK(flush_batch());
    if (!shop_.update(at, size)) return stopped();
  }
  OVHD_CHECK(flush_batch());
  OVHD_CHECK(end_block());
  result.copied_bytes = copier_->copied_bytes();
  result.cleared_bytes = cleared_;
  return Ok{};
}

Status pull(const Workshop& shop, const PullTask& task, const std::vector<HeldFile>& files,
            MergeResult& result) {
  std::vector<const HeldFile*> layers;
  for (const HeldFile& held : files) layers.push_back(&held);
  if (!task.detach) layers.pop_back();
  OVHD_TRY(auto disk, layers_over(shop, task.format, layers, true, true));
  // What the child reads as does not change, and its children are to go on knowing it.
  disk->image(0).set_link_identity(disk->image(0).link_identity());
  shop.blame(files.front().path);
  const Status outcome = Puller{shop, *disk, task.detach}.run(result);
  if (outcome || outcome.error().code == Errc::cancelled) {
    if (const Status closed = disk->close(); outcome && !closed) return closed;
  }
  return outcome;
}

}  // namespace

Result<MergeResult> run_pull(const Workshop& shop, const PullTask& task) {
  std::vector<HeldFile> files;
  for (std::size_t i = 0; i < task.paths.size(); ++i) {
    const auto expected =
        i < task.identities.size() ? std::optional{task.identities[i]} : std::nullopt;
    OVHD_TRY(HeldFile held,
             hold(shop, task.paths[i], i == 0 ? Lock::writer : Lock::reader, expected));
    files.push_back(std::move(held));
  }
  MergeResult result{.disk = task.paths.front()};
  OVHD_CHECK(pull(shop, task, files, result));
  HeldFile& child = files.front();
  if (task.detach) {
    shop.blame(child.path);
    OVHD_CHECK(detach(task.format, *child.file, shop.host));
    return result;
  }
  OVHD_TRY(const ImageFacts parent, facts_of(shop, task.format, files.back()));
  shop.blame(child.path);
  OVHD_CHECK(set_parent(task.format, *child.file, change_to(child.path, files.back(), parent.id),
                        shop.host));
  return result;
}

}  // namespace openvhd::snapshot
