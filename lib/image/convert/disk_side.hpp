/// Opening what is read: images with their parents, NBD exports, files on standard input.
#pragma once

#include <cstdint>
#include <memory>
#include <openvhd/disk.hpp>
#include <optional>
#include <string>

#include "image/convert/convert_plan.hpp"
#include "image/convert/endpoint.hpp"
#include "image/disk_state.hpp"

namespace openvhd {

/// A disk to read. The endpoint works on the disk and goes first.
struct DiskSide {
  std::unique_ptr<detail::DiskState> disk;  ///< Null for NBD.
  std::unique_ptr<Endpoint> endpoint;
  SourceFacts facts;
};

struct SideSpec {
  std::string name;  ///< A file, an NBD URI, or "-" where standard input is a whole file.
  std::optional<Format> format;
  ParentPolicy parents;
  std::uint32_t depth = 8;
  bool direct = true;
  OpenReport* report = nullptr;  ///< Borrowed; may be null.
};

Result<DiskSide> open_side(const SideSpec& spec);

/// The disk in a file that outlives it, as one layer without parents.
Result<std::unique_ptr<detail::DiskState>> disk_in(File& file, const std::string& name,
                                                   Format format, bool writable);

/// A side of an opened disk.
Result<DiskSide> side_of(std::unique_ptr<detail::DiskState> disk, std::uint32_t depth);

}  // namespace openvhd
