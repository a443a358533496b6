/// VHD (Virtual Hard Disk Image Format 1.0): the doors of this room.
#pragma once

#include <openvhd/check.hpp>
#include <openvhd/dump.hpp>
#include <openvhd/error.hpp>
#include <vector>

#include "io/image_layer.hpp"

namespace openvhd::vhd {

/// True when a footer stands at the end of the file (512 or 511 bytes) or a copy at its start.
/// A cookie alone is not enough: its checksum or the fields behind it must fit, so that a damaged
/// image is one and a tar file whose first name is "conectix" is none. io errors are passed on.
Result<bool> probe(File& file);

/// Opens one file of a disk. Errors: corrupt, unsupported, io; read_only when a writable open is
/// asked of a read-only file or of an image that must not be written (saved state, undo disks).
Result<OpenedImage> open(std::unique_ptr<File> file, const LayerOpenOptions& options, Host& host);

struct CreateSpec {
  DiskType type{};
  Geometry geometry{};  ///< block_size included; all checked here. Logical sectors are 512.
  bool written_extents = false;      ///< Fixed: real zeros in place of unwritten extents.
  Progress* progress = nullptr;      ///< Of writing them; borrowed, may be null.
  std::optional<Guid> identifier{};  ///< Unique id; random when empty.
  Guid parent_id{};                  ///< Differencing: the parent's unique id.
  std::uint32_t parent_timestamp = 0;
  std::string parent_name{};      ///< UTF-8 file name for the dynamic header.
  std::string parent_relative{};  ///< UTF-8, with backslashes, for W2ru.
  std::string parent_absolute{};  ///< UTF-8, for W2ku; empty where there is none.
};

/// Writes a new image into an empty file and syncs it.
Status create(File& file, const CreateSpec& spec, Host& host);

/// The 512 bytes that end a fixed VHD of this size, for streams.
std::array<std::byte, 512> fixed_footer(const CreateSpec& spec, Host& host);

/// Judges every V invariant that one file can show; with `azure` also what an upload to Azure
/// demands. At most `limit` findings are added. Errors: io, cancelled.
Status check(File& file, bool azure, std::vector<Finding>& findings, std::size_t limit,
             Progress* progress);

/// Mends what `check` called repairable, through `file` (whose writer saves what it replaces).
Status repair(File& file, Host& host, std::vector<std::string>& actions);

/// Changes what the header and the locators of a differencing file say. The header is never
/// overwritten while it counts: at every moment one footer is whole, and every whole footer leads
/// to a whole header that says the old or the new. An interruption may leave the footer and its
/// copy with two such headers: the next change, this one too, makes them one again. Errors:
/// invalid (no differencing file), corrupt, io.
Status set_parent(File& file, const ParentChange& change, Host& host);

/// Makes a dynamic file of a differencing one all of whose stored blocks are whole, so that
/// nothing is asked of its parent that does not read as zeros; old or new as set_parent().
/// Errors: invalid (not differencing, or a block is present in parts), corrupt, io.
Status detach(File& file, Host& host);

/// See openvhd::dump.
Result<DumpNode> dump(File& file, std::uint64_t max_entries);

}  // namespace openvhd::vhd
