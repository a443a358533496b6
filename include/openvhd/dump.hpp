/// Every structure of an image, decoded.
#pragma once

#include <cstdint>
#include <openvhd/error.hpp>
#include <openvhd/types.hpp>
#include <optional>
#include <string>
#include <vector>

namespace openvhd {

/// A field or a structure. Leaves have a value, structures have children.
struct DumpNode {
  std::string name{};                     ///< The specification's name, in snake_case.
  std::string value{};                    ///< For people: "0x00100000", "FULLY_PRESENT", a GUID.
  std::optional<std::uint64_t> number{};  ///< For machines, where the field is a number.
  std::optional<FileOffset> at{};         ///< Where it lies in the file.
  std::string problem{};                  ///< What is wrong with it; empty when nothing is.
  std::vector<DumpNode> children{};       ///< In the order of the file.
};

/// Decodes all structures of `path` as they are in the file: nothing is replayed, damaged ones
/// are shown with what is wrong. Tables list their non-empty entries, at most `max_entries` each.
/// Takes no lock. Errors: not_found, io, and unsupported when the file is no VHD or VHDX.
Result<DumpNode> dump(const std::string& path, std::uint64_t max_entries);

}  // namespace openvhd
