/// VHDX ([MS-VHDX] 8.0): the doors of this room.
#pragma once

#include <openvhd/check.hpp>
#include <openvhd/dump.hpp>
#include <openvhd/error.hpp>
#include <vector>

#include "io/image_layer.hpp"

namespace openvhd::vhdx {

/// True when the file begins with the VHDX file identifier; io errors are passed on.
Result<bool> probe(File& file);

/// True when a valid header is where one belongs: the file was a VHDX, whatever it begins with.
Result<bool> probe_header(File& file);

/// Opens one file of a disk. Everything at fixed places is validated here; table entries are
/// validated when their page is first used, and all of them before the first allocation.
/// Errors: corrupt, unsupported, io; read_only when a writable open is asked of a read-only file.
Result<OpenedImage> open(std::unique_ptr<File> file, const LayerOpenOptions& options, Host& host);

struct CreateSpec {
  DiskType type{};
  Geometry geometry{};  ///< block_size included; all checked here.
  std::uint64_t log_bytes = 0;
  bool written_extents = false;      ///< Fixed: real zeros in place of unwritten extents.
  Progress* progress = nullptr;      ///< Of writing them; borrowed, may be null.
  std::optional<Guid> identifier{};  ///< Page 83 id; random when empty.
  Guid parent_linkage{};             ///< Differencing: the parent's DataWriteGuid.
  std::string parent_relative{};     ///< UTF-8, with backslashes, as it goes into the locator.
  std::string parent_absolute{};     ///< Likewise; empty where there is none.
};

/// Writes a new image into an empty file and syncs it.
Status create(File& file, const CreateSpec& spec, Host& host);

/// Judges every X and L invariant that one file can show; at most `limit` findings are added.
/// The contents of sector bitmaps are read for X15. Errors: io, cancelled.
Status check(File& file, std::vector<Finding>& findings, std::size_t limit, Progress* progress);

/// Mends what `check` called repairable, through `file` (whose writer saves what it replaces).
Status repair(File& file, Host& host, std::vector<std::string>& actions);

/// See openvhd::replay. The file is writable unless `dry_run`.
Result<ReplayResult> replay(File& file, bool dry_run, Host& host);

/// Changes what the locator of a differencing file says, all or nothing: through the log, with a
/// new FileWriteGuid and the same DataWriteGuid (2.6.2.6). A dirty log is replayed first. Errors:
/// invalid (no differencing file), no_space (the metadata region is full), corrupt, io.
Status set_parent(File& file, const ParentChange& change, Host& host);

/// Makes a dynamic file of a differencing one that stores whole blocks only, so that nothing is
/// asked of its parent that does not read as zeros: sector bitmaps and locator go away. Cut off
/// anywhere it is a differencing file that reads the same, and can be done again. Errors: invalid
/// (not differencing, or a block is present in parts), corrupt, io.
Status detach(File& file, Host& host);

/// See openvhd::dump.
Result<DumpNode> dump(File& file, std::uint64_t max_entries);

}  // namespace openvhd::vhdx
