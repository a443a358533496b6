/// Making a sparse VHD that is closed shorter.
#pragma once

#include <cstdint>
#include <functional>
#include <openvhd/error.hpp>
#include <optional>
#include <vector>

#include "io/file.hpp"
#include "io/file_steps.hpp"
#include "io/host.hpp"
#include "vhd/owned_space.hpp"

namespace openvhd::vhd {

struct CompactSpec {
  bool find_zeros = false;  ///< Also let go of blocks that need no space: reads them all.
  bool move = false;        ///< Move blocks.
  /// Asked while blocks are read, with bytes done and in all. False: stop.
  std::function<bool(std::uint64_t, std::uint64_t)> progress{};
};

struct CompactSummary {
  std::uint64_t file_bytes = 0;        ///< Before.
  std::uint64_t file_bytes_after = 0;  ///< When all is done.
  std::uint64_t zero_blocks = 0;       ///< Let go because of what they hold.
  std::uint64_t released_bytes = 0;    ///< Of blocks that are let go.
  std::uint64_t moved_blocks = 0;
  std::uint64_t moved_bytes = 0;
};

/// A plan in batches, as that of lib/vhdx. There is no log, so the order is what keeps the disk: a
/// block is whole at both places before the table's sector that names it changes; the file is cut
/// after that is durable, and after a footer stands where it will end.
///
/// A child's sectors that hold zeros hide its parent's, so of a child only blocks are let go that
/// have no sector at all. Images with Xen's batmap lose no block (see README.md).
class Compactor {
 public:
  /// Reads the whole table, and blocks where `spec` says so; writes nothing. With `writable` the
  /// image must be one that may be written. Errors: unsupported (fixed), read_only, corrupt, io,
  /// cancelled.
  static Result<Compactor> plan(File& file, bool writable, const CompactSpec& spec);

  const CompactSummary& summary() const noexcept { return summary_; }
  Status begin(Host&) const noexcept { return Ok{}; }
  /// The next batch, for FileSteps; empty when all is done. The one before has been executed.
  Result<std::optional<std::vector<FileStep>>> next(File& file);
  /// The size of the file before the batch that next() gave.
  std::uint64_t file_bytes() const noexcept { return batch_bytes_before_; }

 private:
  struct Change {
    std::uint32_t block = 0;
    std::uint32_t sector = kUnused;  // what its entry becomes
    FileOffset from{};
    std::uint64_t highest_end = 0;  // of the targets up to this one
  };

  Compactor(ParsedImage image, OwnedSpace owned)
      : image_{std::move(image)}, owned_{std::move(owned)} {}

  Status find_releases(File& file, const CompactSpec& spec);
  Result<bool> needs_no_space(File& file, const OwnedBlock& block);
  void plan_moves();
  /// All that is not a block, and where blocks must not go, as gaps between: sorted.
  std::vector<FileRange> holes() const;
  std::uint64_t end_of_rest(std::size_t moves_done) const noexcept;
  /// Sectors of the table with `changes` in them.
  Status put_entries(File& file, const std::vector<Change>& changes,
                     std::vector<FileStep>& steps) const;
  void cut(std::uint64_t end, std::vector<FileStep>& steps);

  ParsedImage image_;
  OwnedSpace owned_;  // after plan(): blocks that stay, by place
  std::vector<Change> releases_;
  std::vector<Change> moves_;
  std::vector<std::byte> buffer_;
  CompactSummary summary_;
  std::uint64_t footer_now_ = 0;
  std::uint64_t size_now_ = 0;
  std::uint64_t batch_bytes_before_ = 0;
  std::size_t moved_ = 0;
  bool released_ = false;
};

}  // namespace openvhd::vhd
