/// Parents of images that nobody has open: told of another one, or of none; and children made.
#pragma once

#include <openvhd/error.hpp>
#include <openvhd/types.hpp>
#include <optional>
#include <string>

#include "io/file.hpp"
#include "io/host.hpp"
#include "io/image_layer.hpp"

namespace openvhd {

/// Changes what a differencing image says of its parent, all or nothing. Errors: of the format's.
Status set_parent(Format format, File& file, const ParentChange& change, Host& host);

/// Makes a dynamic image of a differencing one that needs no parent any more; its disk reads the
/// same. Errors: of the format's.
Status detach(Format format, File& file, Host& host);

/// A differencing image of the same disk, to be made in an empty file.
struct ChildSpec {
  Geometry geometry{};  ///< block_size 0: the format's default for children.
  Guid parent_linkage{};
  std::optional<Guid> identifier{};  ///< VHDX: the page 83 id, which is the disk's.
  std::string relative{};            ///< From the child, with backslashes.
  std::string name{};
  std::uint32_t timestamp = 0;
};
Status create_child(Format format, File& file, const ChildSpec& spec, Host& host);

/// The path from the directory of `child` to `parent`, as a locator has it: ".\base.vhdx".
std::string relative_way(const std::string& child, const std::string& parent);

/// Seconds since 2000-01-01 of the last change of a VHD, for its children; 0 where not known.
std::uint32_t parent_timestamp(File& parent) noexcept;

}  // namespace openvhd
