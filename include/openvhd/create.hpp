/// Making new images.
#pragma once

#include <cstdint>
#include <openvhd/disk.hpp>
#include <openvhd/error.hpp>
#include <openvhd/progress.hpp>
#include <openvhd/types.hpp>
#include <optional>
#include <string>

namespace openvhd {

/// What the new image is to be.
struct CreateOptions {
  /// Empty: from the file name (.vhd .vhdx .avhd .avhdx; .raw .img .bin only when `Format::raw`).
  std::optional<Format> format{};
  DiskType type = DiskType::dynamic;  ///< Differencing needs `parent`.
  /// Bytes; exact, never rounded to a geometry. 0 with a parent: the parent's size.
  std::uint64_t virtual_size = 0;
  /// Bytes; 0 is the default: VHDX 32 MiB (2 MiB differencing), VHD 2 MiB.
  std::uint64_t block_size = 0;
  std::uint32_t logical_sector_size = 0;   ///< 0: 512, or the parent's.
  std::uint32_t physical_sector_size = 0;  ///< 0: 4096 for VHDX, 512 for VHD, or the parent's.
  std::uint64_t log_size = 0;              ///< VHDX bytes, a multiple of 1 MiB; 0: 1 MiB.
  /// For differencing; opened by name as the caller gives it, under `parent_policy` for its own
  /// parents. The locators that are written: the absolute path and the path from the new file.
  std::string parent{};
  ParentPolicy parent_policy{};  ///< For the parents of `parent`.
  /// Fixed VHD whose size is a multiple of 1 MiB, as Azure wants it: other sizes are `invalid`.
  bool azure = false;
  /// Fixed images get real, written extents in place of unwritten ones, for targets that refuse
  /// sparse files.
  bool no_sparse = false;
  /// Of writing with `no_sparse`; nothing else takes time. Borrowed; may be null.
  Progress* progress = nullptr;
  /// Replace an existing file. Otherwise an existing file is an error and stays as it is.
  bool overwrite = false;
  /// Kept in conversions of the same disk (VHDX page 83 id, VHD unique id); empty: random.
  std::optional<Guid> identifier{};
  /// When creation fails: the file that the error speaks of. Borrowed; may be null.
  OpenReport* report = nullptr;
};

/// Makes an image, durable with its directory entry (RELIABILITY D7). Errors: invalid (options
/// contradict each other or the format; `what` says which), busy, no_space, io, and those of
/// opening the parent; cancelled. On failure the new file is removed, an existing one is as it was.
Status create(const std::string& path, const CreateOptions& options);

/// The format that a file name asks for; empty where the ending is not known.
std::optional<Format> format_from_name(std::string_view path) noexcept;

}  // namespace openvhd
