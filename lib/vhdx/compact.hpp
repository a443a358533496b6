/// Making a VHDX that is closed shorter: blocks that need no space are let go, blocks from the end
/// of the file move into holes, and the file is cut off behind what is left.
#pragma once

#include <cstdint>
#include <functional>
#include <openvhd/error.hpp>
#include <optional>
#include <vector>

#include "io/file.hpp"
#include "io/file_steps.hpp"
#include "io/host.hpp"
#include "vhdx/edit.hpp"
#include "vhdx/owned_space.hpp"

namespace openvhd::vhdx {

struct CompactSpec {
  bool find_zeros = false;  ///< Also let go of blocks that hold nothing but zeros: reads them all.
  bool move = false;        ///< Move blocks.
  /// Asked while blocks are read, with bytes done and in all. False: stop.
  std::function<bool(std::uint64_t, std::uint64_t)> progress{};
};

struct CompactSummary {
  std::uint64_t file_bytes = 0;        ///< Before.
  std::uint64_t file_bytes_after = 0;  ///< When all is done.
  std::uint64_t zero_blocks = 0;       ///< Let go because of what they hold.
  std::uint64_t released_bytes = 0;    ///< Of blocks that are let go.
  std::uint64_t moved_blocks = 0;      ///< Sector bitmaps among them.
  std::uint64_t moved_bytes = 0;
};

/// A plan, in batches that stand for themselves: each is a change that a crash keeps whole or not
/// at all, and after each the image is closed and sound. No block moves twice, no guest sees
/// anything of it: DataWriteGuid stays.
class Compactor {
 public:
  /// Reads the whole table, and blocks where `spec` says so; writes nothing. `image` is what `file`
  /// says, log included. Errors: unsupported (fixed; no log), corrupt, io, cancelled.
  static Result<Compactor> plan(File& file, ParsedImage image, const CompactSpec& spec);

  const CompactSummary& summary() const noexcept { return summary_; }

  /// Before the first batch, which is the first to write. The log is empty.
  Status begin(Host& host);
  /// The next batch, for FileSteps; empty when all is done. The one before has been executed.
  Result<std::optional<std::vector<FileStep>>> next(File& file);
  /// The size of the file before the batch that next() gave.
  std::uint64_t file_bytes() const noexcept { return batch_bytes_before_; }

 private:
  struct Release {
    OwnedBlock block;
    BatEntry entry;  // what it becomes
  };
  struct Move {
    std::uint64_t index = 0;
    BatEntry entry;  // after the move
    FileOffset from{}, to{};
    std::uint64_t length = 0;
    std::uint64_t highest_end = 0;  // of the targets up to this one
  };

  Compactor(ParsedImage image, OwnedSpace owned)
      : image_{std::move(image)}, owned_{std::move(owned)} {}

  std::uint64_t length_of(std::uint64_t index) const noexcept;
  Status find_releases(File& file, const CompactSpec& spec);
  void release_idle_bitmaps();
  void release(const OwnedBlock& block, BatEntry entry);
  void plan_table_move();
  void plan_moves();
  std::uint64_t pinned_end() const noexcept;
  std::uint64_t end_of_rest(std::size_t moves_done) const noexcept;
  Result<std::optional<std::vector<FileStep>>> release_batch(File& file);
  Result<std::optional<std::vector<FileStep>>> table_batch(File& file);
  Result<std::optional<std::vector<FileStep>>> move_batch(File& file);
  Status put_entry(File& file, std::uint64_t index, BatEntry entry, SectorEdits& edits);
  Result<std::optional<std::vector<FileStep>>> batch(EditSession::Change change);

  ParsedImage image_;
  OwnedSpace owned_;  // after plan(): what is live, by place, and a map of that
  std::vector<Release> releases_;
  std::optional<FileOffset> table_to_;  // where the BAT region moves
  std::vector<Move> moves_;             // from the end of the file down
  CompactSummary summary_;
  std::optional<EditSession> session_;
  std::uint64_t size_now_ = 0;
  std::uint64_t batch_bytes_before_ = 0;
  std::size_t released_ = 0;
  std::size_t moved_ = 0;
  std::size_t still_ = 0;  // live blocks that do not move: the first of owned_.blocks
};

}  // namespace openvhd::vhdx
