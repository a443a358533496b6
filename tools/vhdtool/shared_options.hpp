/// Options that several verbs take, with the same words everywhere.
#pragma once

#include <openvhd/disk.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "arguments.hpp"

namespace vhdtool {

using FormatChoices = std::vector<std::pair<std::string, openvhd::Format>>;

/// "raw", "vhd", "vhdx".
FormatChoices all_formats();
/// "vhd", "vhdx".
FormatChoices image_formats();
std::vector<std::pair<std::string, openvhd::DiskType>> disk_types();
std::vector<std::pair<std::string, std::uint32_t>> sector_sizes();

/// --json.
void declare_json(Arguments& arguments, bool& json);
/// --format of an image that exists.
void declare_format(Arguments& arguments, std::optional<openvhd::Format>& format);
/// --parent-dir, --cross-device and --trust-owner.
void declare_parent_dirs(Arguments& arguments, openvhd::ParentPolicy& policy);
/// Those, and --parent and --raw-parent: the chain by hand.
void declare_parents(Arguments& arguments, openvhd::ParentPolicy& policy);

}  // namespace vhdtool
