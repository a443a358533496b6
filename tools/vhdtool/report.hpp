/// What verbs print: pure functions from what the library says to text and JSON.
#pragma once

#include <openvhd/check.hpp>
#include <openvhd/compact.hpp>
#include <openvhd/convert.hpp>
#include <openvhd/disk_info.hpp>
#include <openvhd/dump.hpp>
#include <openvhd/resize.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"

namespace vhdtool {

/// "raw", "VHD", "VHDX".
const char* format_name(openvhd::Format format) noexcept;

/// "2024-05-01T10:00:00Z"; seconds since 1970, years 1 to 9999.
std::string utc_text(std::int64_t unix_seconds);

/// One layer, all lines. `indent` before every line but the first.
std::string layer_text(const openvhd::LayerInfo& layer);
/// A line per file, each parent below its child.
std::string chain_text(const openvhd::DiskInfo& info);
/// "VHDX dynamic, 10 GiB".
std::string layer_summary(const openvhd::LayerInfo& layer);
Json info_json(const openvhd::DiskInfo& info, const std::vector<std::string>& notes);

std::string check_text(const openvhd::CheckReport& report);
Json check_json(const openvhd::CheckReport& report);
std::string repair_text(const openvhd::RepairResult& result);

std::string dump_text(const openvhd::DumpNode& root);
Json dump_json(const openvhd::DumpNode& root);

std::string convert_text(const openvhd::ConvertResult& result);
Json convert_json(const openvhd::ConvertResult& result);

std::string replay_text(const openvhd::ReplayResult& result, bool dry_run);
Json replay_json(const openvhd::ReplayResult& result, bool dry_run);

std::string resize_text(const openvhd::ResizeResult& result);
Json resize_json(const openvhd::ResizeResult& result);

std::string compact_text(const openvhd::CompactResult& result, bool dry_run);
Json compact_json(const openvhd::CompactResult& result, bool dry_run);

}  // namespace vhdtool
