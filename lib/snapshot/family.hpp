/// Which images lie about, and who is whose child: found by what the images say, not by names.
#pragma once

#include <openvhd/error.hpp>
#include <openvhd/types.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/host.hpp"
#include "io/image_layer.hpp"
#include "io/image_store.hpp"

namespace openvhd::snapshot {

struct FamilyMember {
  std::string path{};
  Format format{};
  DiskType type{};
  FileIdentity identity{};
  Guid id{};                           ///< By which children know it.
  std::optional<ParentLink> parent{};  ///< Set when differencing.
  std::int64_t modified_unix = 0;

  /// Whether its parent has this id, or is about to get it.
  bool is_child_of(const Guid& parent_id) const noexcept {
    return parent && (parent->linkage == parent_id || parent->linkage2 == parent_id);
  }
};

struct Family {
  std::vector<FamilyMember> members{};
  /// Files of which nobody can tell whose children they are: the host would not read them, or
  /// they are images by their signature that do not open.
  struct Unread {
    std::string path{};
    Error error{};
  };
  std::vector<Unread> unread{};
  std::vector<Unread> strangers{};  ///< Files that are no images, whatever their ending.
};

/// Looks into every file of `directories` whose ending is that of an image of `format`, without a
/// lock: each once, whatever its names. Errors: of listing.
Result<Family> find_family(ImageStore& store, Host& host, Format format,
                           const std::vector<std::string>& directories);

}  // namespace openvhd::snapshot
