/// What a merge is to do, beside the image that it changes: "base.vhdx.merge".
#pragma once

#include <cstddef>
#include <cstdint>
#include <openvhd/error.hpp>
#include <openvhd/types.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/image_store.hpp"
#include "snapshot/chain_files.hpp"

namespace openvhd::snapshot {

struct MergeRecord {
  enum class Stage : std::uint8_t {
    copy,    ///< The target is in between; the child reads through it as it always did.
    relink,  ///< The target holds all; children are being told of it.
    remove,  ///< Nobody needs the merged images any more.
  };
  Stage stage = Stage::copy;
  /// The merged images, the child first, the target's neighbour last; as leaf names where they
  /// lie beside the target, else as paths.
  std::vector<std::string> files{};
  /// The ids by which their children know them, in the same order.
  std::vector<Guid> ids{};
  /// Directories, beside those of the files, in which children are looked for: absolute.
  std::vector<std::string> child_dirs{};
  Guid old_id{};  ///< The target's before.
  Guid new_id{};  ///< What the target is known by from its first change on.
  bool keep = false;
  bool force_siblings = false;
  /// Bytes of the disk, from its start, that are merged durably.
  std::uint64_t done = 0;

  friend bool operator==(const MergeRecord&, const MergeRecord&) = default;
};

inline constexpr std::size_t kMaxRecordBytes = 64 * 1024;

/// "base.vhdx.merge".
std::string record_path(const std::string& target);

/// JSON, one object, version 1.
std::string encode(const MergeRecord& record);
/// Text that anybody may have written. Errors: corrupt; unsupported (another version).
Result<MergeRecord> decode_record(std::string_view text);

Result<MergeRecord> read_record(ImageStore& store, const std::string& target);
/// Where a file that the record beside `target` names is.
std::string recorded_path(const std::string& target, const std::string& name);
/// Refuses an image that an unfinished merge is to take in, after the records beside `chain` and in
/// the image's directory: with another parent it could not be finished (C05). Errors: denied, and
/// those of reading a record beside `chain`.
Status expect_not_being_merged(const Workshop& shop, const std::string& image,
                               std::span<const std::string> chain);
Status write_record(ImageStore& store, const std::string& target, const MergeRecord& record);

}  // namespace openvhd::snapshot
