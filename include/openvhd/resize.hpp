/// Changing the size of the disk in an image that nobody uses.
#pragma once

#include <cstdint>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>
#include <string>

namespace openvhd {

/// What says how small a disk may become.
enum class SizeBasis : std::uint8_t {
  gpt,     ///< The end of the last partition, and room for the backup of the table.
  mbr,     ///< The end of the last partition.
  data,    ///< No partition table: the last byte that is not zero.
  parent,  ///< A child may not be smaller than its parent (C01), whatever it holds.
};

/// The smallest size that loses nothing.
struct SmallestSize {
  std::uint64_t bytes = 0;  ///< At most the size that the disk has.
  SizeBasis basis{};        ///< What says so.
};

/// Reads the partition table of `path`, or, where there is none, the end of its data. Never
/// writes. Errors: as Disk::open(), corrupt (a GPT of which neither copy is valid), cancelled.
Result<SmallestSize> smallest_size(const std::string& path, const ParentPolicy& parents,
                                   Progress* progress = nullptr);

/// Where the two copies of a disk's GPT are (UEFI 2.10, 5.3.2).
enum class GptState : std::uint8_t {
  none,              ///< The disk has no GPT.
  whole,             ///< Both are valid, the backup in the last sector of the disk.
  backup_elsewhere,  ///< No valid backup is in the last sector, as when the disk has grown.
  first_damaged,     ///< Only the backup is valid.
};

/// Looks at the GPT of an open disk; reads a few sectors of it and writes nothing. Errors: corrupt
/// (the disk says that it has a GPT, and no copy of it is valid), and those of Disk::read().
/// Thread: as Disk::read().
Result<GptState> gpt_state(Disk& disk);

/// Which size, and how.
struct ResizeOptions {
  std::uint64_t size = 0;  ///< Bytes, a multiple of the logical sector size.
  bool minimum = false;    ///< To the smallest size that loses nothing; `size` is not looked at.
  bool force = false;      ///< Also where it cuts off what is in use.
  bool fix_gpt = false;    ///< Moves the backup of a GPT to the new end.
  ParentPolicy parents{};  ///< Where the parents of a child may be.
  Progress* progress = nullptr;  ///< Borrowed; may be null.
  OpenReport* report = nullptr;  ///< Borrowed; may be null.
};

/// What a resize did.
struct ResizeResult {
  std::uint64_t old_size = 0;          ///< Of the disk, in bytes.
  std::uint64_t new_size = 0;          ///< Of the disk, in bytes.
  std::uint64_t file_size_before = 0;  ///< Bytes.
  std::uint64_t file_size_after = 0;   ///< Bytes.
  bool table_moved = false;            ///< The block table outgrew its place and got another.
  /// Only where the disk became smaller, or would have.
  SmallestSize smallest{};
  bool has_gpt = false;    ///< The disk has a GPT.
  bool gpt_moved = false;  ///< The backup of the GPT is where it belongs, by this call.
  /// The backup of the GPT is not at the end of the disk: `fix_gpt`, or a partition tool, moves it.
  bool gpt_must_move = false;
};

/// Makes the disk in `path` larger or smaller. New bytes read as zeros. A crash, or a failure, at
/// any point leaves the old size with the old contents or the new one with the new (C07). The
/// DataWriteGuid of a VHDX changes with its size: an image that has children must not be resized,
/// and its children say so when they are opened.
///
/// Errors: as Disk::open() for writing; out_of_range (smaller than what is in use, without
/// `force`; smaller than the parent, always), invalid (no size that the format admits),
/// unsupported, no_space (the old size stays), cancelled (the old size stays).
Result<ResizeResult> resize(const std::string& path, const ResizeOptions& options);

}  // namespace openvhd
