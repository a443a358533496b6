/// Making the file of an image that nobody uses as short as what it holds.
#pragma once

#include <cstdint>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>
#include <string>

namespace openvhd {

/// What is looked for.
enum class CompactMode : std::uint8_t {
  quick,   ///< Blocks from the end of the file move into holes. Reads no data.
  zeroes,  ///< Blocks that hold nothing but zeros are let go. Moves nothing.
  full,    ///< First the one, then the other.
};

/// How compact() goes about it.
struct CompactOptions {
  CompactMode mode = CompactMode::full;  ///< What is looked for.
  bool dry_run = false;                  ///< Writes nothing, only tells what it would do.
  Progress* progress = nullptr;          ///< Borrowed; may be null.
};

/// What compact() did.
struct CompactResult {
  std::uint64_t file_size_before = 0;  ///< Bytes.
  std::uint64_t file_size_after = 0;   ///< Bytes.
  std::uint64_t zero_blocks = 0;       ///< Let go because they hold nothing but zeros.
  std::uint64_t released_bytes = 0;    ///< Of blocks that were let go, sector bitmaps among them.
  std::uint64_t moved_blocks = 0;      ///< Put nearer to the beginning of the file.
  std::uint64_t moved_bytes = 0;       ///< Of `moved_blocks`.
};

/// Compacts the dynamic or differencing image `path`. The disk reads the same before, during and
/// after; its DataWriteGuid or unique id stays, so children stay valid. No block moves twice. A
/// crash, a failure or a stop leaves a sound image that holds the same disk, compacted in part:
/// another run goes on from there.
///
/// Errors: as Disk::open() for writing; unsupported (a fixed disk), no_space (blocks that move need
/// room for one batch of at most 256 MiB while they do), cancelled.
Result<CompactResult> compact(const std::string& path, const CompactOptions& options);

}  // namespace openvhd
