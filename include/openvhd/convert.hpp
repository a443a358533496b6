/// Moving a disk from one image to another, and comparing two.
#pragma once

#include <cstdint>
#include <openvhd/create.hpp>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>
#include <optional>
#include <string>
#include <vector>

namespace openvhd {

/// What is copied, where to and how.
struct ConvertOptions {
  /// A file, "-" for standard input (raw, read as it comes), or an nbd:// or nbd+unix:// URI.
  std::string source{};
  /// Empty: from the content. Raw must be named, except for NBD, which is raw always, and for "-",
  /// which is raw unless something else is named; what looks like an image there is refused.
  std::optional<Format> source_format{};
  ParentPolicy source_parents{};  ///< For a source that is a chain.
  /// A file, "-" for standard output (raw or fixed VHD), or an NBD URI (raw).
  std::string target{};
  /// Type, format, block and sector sizes, azure, no_sparse, overwrite. A virtual_size of 0 is
  /// the size of what is copied; a larger one leaves zeros at the end.
  CreateOptions create{};
  /// The part of the source to copy; without a length up to its end. A length of 0 is invalid.
  VirtualOffset offset{};
  std::optional<std::uint64_t> length{};  ///< Bytes.
  /// Copies in flight at once.
  std::uint32_t depth = 8;
  /// Share extents between files where the host can (XFS, btrfs).
  bool reflink = true;
  /// Bypass the page cache where the host allows.
  bool direct = true;
  Progress* progress = nullptr;  ///< Borrowed; may be null.
  OpenReport* report = nullptr;  ///< Of the source, or of the target where that failed.
};

/// What convert() did; bytes of the disk.
struct ConvertResult {
  std::uint64_t virtual_size = 0;    ///< Of the target.
  std::uint64_t copied_bytes = 0;    ///< Read and written.
  std::uint64_t cloned_bytes = 0;    ///< Shared with the source, not moved.
  std::uint64_t skipped_bytes = 0;   ///< Unallocated, or zero by the source's metadata.
  std::uint64_t zero_bytes = 0;      ///< Read, found zero and not written.
  std::vector<std::string> notes{};  ///< What the target has beside what was copied.
};

/// Copies a disk, whole chains flattened. The target is durable, with its directory entry, when
/// this returns Ok; on failure a file that it created is removed. Errors: invalid (what cannot be
/// combined, such as a silent change of the logical sector size that would break the partition
/// table: ask for it by name), and those of open, create, read and write.
Result<ConvertResult> convert(const ConvertOptions& options);

/// Which two disks are compared, and how.
struct CompareOptions {
  std::string a{};                   ///< A file or an NBD URI.
  std::string b{};                   ///< Likewise.
  std::optional<Format> a_format{};  ///< Empty: from the content; raw must be named.
  std::optional<Format> b_format{};  ///< As `a_format`.
  ParentPolicy parents{};            ///< Of both.
  /// Sizes must be equal; otherwise the longer disk may go on with zeros.
  bool strict = false;
  Progress* progress = nullptr;  ///< Borrowed; may be null.
  OpenReport* report = nullptr;  ///< Of the disk that could not be opened; may be null.
};

/// What compare() found.
struct CompareResult {
  bool equal = false;         ///< The answer.
  bool sizes_differ = false;  ///< Of the two disks.
  std::optional<VirtualOffset>
      first_difference{};  ///< Of the first byte that differs; empty where none does.
};

/// Compares what two disks read as; files, "-" excepted, and NBD URIs as for convert().
Result<CompareResult> compare(const CompareOptions& options);

}  // namespace openvhd
