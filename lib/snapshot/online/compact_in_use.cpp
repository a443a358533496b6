#include "snapshot/online/compact_in_use.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/convert/buffers.hpp"
#include "image/ops/move_op.hpp"
#include "snapshot/online/layer_in_use.hpp"

namespace openvhd::snapshot {
namespace {

constexpr std::uint64_t kPiece = kMiB;
constexpr std::uint64_t kMostAtOnce = kGiB;  // of one look at a map
constexpr unsigned kMovesPerFlush = 64;

class CompactInUse {
 public:
  CompactInUse(const Workshop& shop, detail::DiskState& disk, const Pace& pace)
      : shop_{shop},
        disk_{disk},
        pace_{pace},
        layer_{disk, 0, true},
        file_{*disk.files().front()},
        block_bytes_{disk.geometry().block_size},
        memory_{kPiece} {}

  Result<CompactResult> run();

 private:
  struct Block {
    VirtualOffset at{};
    FileOffset from{};
  };

  Status get_ready();
  Result<std::vector<Block>> blocks_from_the_end();
  enum class Moved : std::uint8_t { yes, was_elsewhere, no_room };
  Result<Moved> move_block(const Block& block);
  Status wait_until_over(std::uint64_t asked);
  Status copy(FileOffset from, FileOffset to);
  Status run_move(VirtualOffset at, MovedBlock& moved);
  void let_go();

  const Workshop& shop_;
  detail::DiskState& disk_;
  Pace pace_;
  LayerInUse layer_;
  File& file_;
  std::uint64_t block_bytes_;
  AlignedBuffer memory_;
  BlockMover* mover_ = nullptr;
};

Status CompactInUse::run_move(VirtualOffset at, MovedBlock& moved) {
  Job job{.kind = Job::Kind::move, .at = at, .moved = &moved};
  return disk_.run_in_background(job);
}

/// Everybody who owns space is known, and what is nobody's any more can be taken.
Status CompactInUse::get_ready() {
  if (memory_.span().empty()) return Error{.code = Errc::io, .what = "no memory to copy with"};
  disk_.ask([this] { mover_ = dynamic_cast<BlockMover*>(&disk_.image(0)); });
  if (mover_ == nullptr || disk_.image(0).type() == DiskType::fixed) {
    return Error{.code = Errc::unsupported,
                 .what = "only dynamic and differencing VHDX are compacted while they are in use"};
  }
  // Nothing is there, so that nothing moves.
  MovedBlock none{.mover = mover_};
  OVHD_CHECK(run_move({}, none));
  OVHD_CHECK(layer_.flush());
  return layer_.flush();
}

Result<std::vector<CompactInUse::Block>> CompactInUse::blocks_from_the_end() {
  std::map<std::uint64_t, Block> by_block;
  const std::uint64_t size = disk_.virtual_size();
  for (std::uint64_t at = 0; at < size;) {
    OVHD_TRY(const MapEntry entry, layer_.map({at}, std::min(size - at, kMostAtOnce)));
    if (entry.kind == MapEntry::Kind::data) {
      // Neighbours that lie together are one entry; a block in parts is several.
      for (std::uint64_t block = align_down(at, block_bytes_); block < at + entry.length;
           block += block_bytes_) {
        const std::uint64_t from = entry.host_offset.value + block - at;
        by_block.try_emplace(block, Block{.at = {block}, .from = {from}});
      }
    }
    at += entry.length;
  }
  std::vector<Block> out;
  for (const auto& [block, found] : by_block) out.push_back(found);
  std::ranges::sort(out, [](const Block& a, const Block& b) { return a.from > b.from; });
  return out;
}

/// Transfers of queues, operations, and bits that a page was missing for.
Status CompactInUse::wait_until_over(std::uint64_t asked) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::seconds kLongest{5};
  constexpr std::chrono::microseconds kPause{50};
  constexpr unsigned kLooksPerFlush = 200;
  const auto end = Clock::now() + kLongest;
  for (unsigned looks = 1;; ++looks) {
    bool over = false;
    disk_.ask([&] { over = mover_->over(asked); });
    if (over) return Ok{};
    if (Clock::now() > end) {
      return Error{.code = Errc::busy,
                   .what = "a queue's thread does not take back what has completed"};
    }
    if (looks % kLooksPerFlush == 0) OVHD_CHECK(layer_.flush());
    std::this_thread::sleep_for(kPause);
  }
}

// Without a rest: writes to the block wait.
Status CompactInUse::copy(FileOffset from, FileOffset to) {
  const auto bytes = memory_.span();
  for (std::uint64_t done = 0; done < block_bytes_; done += kPiece) {
    OVHD_CHECK(file_.read_exact(from + done, bytes, "a block that moves: the file ends inside it"));
    OVHD_CHECK(file_.write_all(to + done, bytes));
  }
  return Ok{};
}

void CompactInUse::let_go() {
  disk_.ask([this] {
    mover_->show();
    disk_.release_changes();
  });
}

Result<CompactInUse::Moved> CompactInUse::move_block(const Block& block) {
  MovedBlock moved{.mover = mover_, .from = block.from};
  std::optional<FileOffset> to;
  std::uint64_t asked = 0;
  disk_.ask([&] {
    to = mover_->claim(block.from);
    if (!to) return;
    disk_.hold_changes(block.at, block_bytes_);
    asked = mover_->hide(block.at);
  });
  if (!to) return Moved::no_room;
  moved.to = *to;
  pace_.begin();
  Status outcome = wait_until_over(asked);
  if (outcome) outcome = copy(block.from, moved.to);
  if (!outcome) {
    disk_.ask([&] { mover_->give_back(moved.to); });
  } else {
    outcome = run_move(block.at, moved);
  }
  let_go();
  if (!outcome) return outcome.error();
  pace_.end(block_bytes_);
  return moved.moved ? Moved::yes : Moved::was_elsewhere;
}

Result<CompactResult> CompactInUse::run() {
  shop_.blame(disk_.paths_now().front());
  CompactResult out;
  OVHD_CHECK(get_ready());
  OVHD_TRY(out.file_size_before, file_.size());
  OVHD_TRY(const std::vector<Block> blocks, blocks_from_the_end());
  for (const Block& block : blocks) {
    if (!shop_.update(out.moved_bytes, blocks.size() * block_bytes_)) return stopped();
    OVHD_TRY(const Moved moved, move_block(block));
    // What lies before it finds no hole either.
    if (moved == Moved::no_room) break;
    if (moved == Moved::was_elsewhere) continue;
    ++out.moved_blocks;
    out.moved_bytes += block_bytes_;
    if (out.moved_blocks % kMovesPerFlush == 0) OVHD_CHECK(layer_.flush());
  }
  OVHD_CHECK(layer_.flush());
  // A closed image ends where it may: the log must not say otherwise (L06).
  const auto as_it_is = [](File&) { return Status{Ok{}}; };
  OVHD_CHECK(disk_.still([&] { return disk_.edit_leaf(as_it_is); }));
  OVHD_TRY(out.file_size_after, disk_.files().front()->size());
  return out;
}

}  // namespace

Result<CompactResult> compact_in_use(const Workshop& shop, detail::DiskState& disk,
                                     const Pace& pace) {
  return CompactInUse{shop, disk, pace}.run();
}

}  // namespace openvhd::snapshot
