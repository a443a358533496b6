#include <fmt/format.h>

#include <chrono>

#include "report.hpp"
#include "size.hpp"
#include "text.hpp"

namespace vhdtool {
namespace {

using openvhd::DiskType;
using openvhd::Format;
using openvhd::LayerInfo;
using openvhd::LogState;

const char* log_name(LogState state) noexcept {
  switch (state) {
    case LogState::none:
      return "none";
    case LogState::clean:
      return "clean";
    case LogState::dirty:
      return "dirty";
  }
  return "?";
}

struct NamedCount {
  const char* name;
  std::uint64_t openvhd::BlockCounts::* count;
};

constexpr NamedCount kCounts[] = {
    {"fully present", &openvhd::BlockCounts::fully_present},
    {"partially present", &openvhd::BlockCounts::partially_present},
    {"not present", &openvhd::BlockCounts::not_present},
    {"zero", &openvhd::BlockCounts::zero},
    {"unmapped", &openvhd::BlockCounts::unmapped},
    {"undefined", &openvhd::BlockCounts::undefined},
    {"bitmap", &openvhd::BlockCounts::bitmap_blocks},
};

std::string blocks_text(const openvhd::BlockCounts& blocks) {
  std::string parts;
  for (const auto& [name, count] : kCounts) {
    if (blocks.*count == 0) continue;
    parts += fmt::format("{}{} {}", parts.empty() ? "" : ", ", grouped(blocks.*count), name);
  }
  return fmt::format("{} in all{}{}", grouped(blocks.total), parts.empty() ? "" : ": ", parts);
}

std::string log_text(const LayerInfo& layer) {
  std::string text = fmt::format("{}, {}", log_name(layer.log), human_size(layer.log_bytes));
  if (layer.log == LogState::dirty) {
    text += layer.replayed_entries == 0
                ? std::string{", needs replay"}
                : fmt::format(", seen with {} replayed in memory",
                              layer.replayed_entries == 1
                                  ? std::string{"1 entry"}
                                  : grouped(layer.replayed_entries) + " entries");
  }
  return text;
}

void add_identity(Table& table, const LayerInfo& layer) {
  const bool vhd = layer.format == Format::vhd;
  if (!layer.creator.empty()) {
    const auto os = layer.creator_os.empty() ? "" : " on " + layer.creator_os;
    table.row({"creator", printable(layer.creator + os)});
  }
  if (layer.created_unix) table.row({"created", utc_text(*layer.created_unix)});
  if (layer.identifier)
    table.row({vhd ? "unique id" : "identifier", openvhd::to_string(*layer.identifier)});
  if (layer.data_write_guid)
    table.row({"data write id", openvhd::to_string(*layer.data_write_guid)});
  if (layer.file_write_guid)
    table.row({"file write id", openvhd::to_string(*layer.file_write_guid)});
}

void add_state(Table& table, const LayerInfo& layer) {
  if (layer.log != LogState::none) table.row({"log", log_text(layer)});
  if (layer.saved_state) table.row({"saved state", "yes: a virtual machine was suspended on it"});
  if (layer.leave_blocks_allocated) table.row({"allocation", "blocks stay allocated (fixed)"});
  if (layer.blocks) table.row({"blocks", blocks_text(*layer.blocks)});
  for (const auto& path : layer.parent_paths) table.row({"parent", printable(path)});
  if (layer.parent_linkage) table.row({"parent id", openvhd::to_string(*layer.parent_linkage)});
  for (const auto& note : layer.notes) table.row({"note", printable(note)});
}

Json blocks_json(const std::optional<openvhd::BlockCounts>& blocks) {
  if (!blocks) return nullptr;
  return {{"total", blocks->total},
          {"not_present", blocks->not_present},
          {"undefined", blocks->undefined},
          {"zero", blocks->zero},
          {"unmapped", blocks->unmapped},
          {"fully_present", blocks->fully_present},
          {"partially_present", blocks->partially_present},
          {"bitmap_blocks", blocks->bitmap_blocks}};
}

Json layer_json(const LayerInfo& layer) {
  const auto& geometry = layer.geometry;
  return {{"path", layer.path},
          {"format", openvhd::to_string(layer.format)},
          {"type", openvhd::to_string(layer.type)},
          {"virtual_size", geometry.virtual_size},
          {"logical_sector_size", geometry.logical_sector_size},
          {"physical_sector_size", geometry.physical_sector_size},
          {"block_size", geometry.block_size == 0 ? Json(nullptr) : Json(geometry.block_size)},
          {"file_size", layer.file_size},
          {"allocated_bytes", layer.allocated_bytes},
          {"creator", layer.creator},
          {"creator_os", layer.creator_os},
          {"created_unix", json_or_null(layer.created_unix)},
          {"identifier", json_or_null(layer.identifier)},
          {"data_write_guid", json_or_null(layer.data_write_guid)},
          {"file_write_guid", json_or_null(layer.file_write_guid)},
          {"log",
           {{"state", log_name(layer.log)},
            {"bytes", layer.log_bytes},
            {"replayed_entries", layer.replayed_entries}}},
          {"leave_blocks_allocated", layer.leave_blocks_allocated},
          {"saved_state", layer.saved_state},
          {"blocks", blocks_json(layer.blocks)},
          {"parent_paths", layer.parent_paths},
          {"parent_linkage", json_or_null(layer.parent_linkage)},
          {"notes", layer.notes}};
}

}  // namespace

const char* format_name(Format format) noexcept {
  switch (format) {
    case Format::raw:
      return "raw";
    case Format::vhd:
      return "VHD";
    case Format::vhdx:
      return "VHDX";
  }
  return "?";
}

std::string utc_text(std::int64_t unix_seconds) {
  using namespace std::chrono;
  constexpr std::int64_t kYear1 = -62135596800;
  constexpr std::int64_t kYear10000 = 253402300800;
  if (unix_seconds < kYear1 || unix_seconds >= kYear10000) return fmt::format("{} s", unix_seconds);
  const sys_seconds at{seconds{unix_seconds}};
  const auto day = floor<days>(at);
  const year_month_day date{day};
  const hh_mm_ss time{at - day};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     time.hours().count(), time.minutes().count(), time.seconds().count());
}

std::string layer_summary(const LayerInfo& layer) {
  const auto size = human_size(layer.geometry.virtual_size);
  if (layer.format == Format::raw) return "raw, " + size;
  return fmt::format("{} {}, {}", format_name(layer.format), openvhd::to_string(layer.type), size);
}

std::string layer_text(const LayerInfo& layer) {
  const auto& geometry = layer.geometry;
  Table table{{Table::Align::left, Table::Align::left}};
  table.row({"virtual size", exact_size(geometry.virtual_size)});
  table.row({"file size", exact_size(layer.file_size)});
  table.row({"on host", exact_size(layer.allocated_bytes)});
  if (geometry.block_size != 0) table.row({"block size", human_size(geometry.block_size)});
  table.row({"sectors", fmt::format("{} bytes logical, {} physical", geometry.logical_sector_size,
                                    geometry.physical_sector_size)});
  add_identity(table, layer);
  add_state(table, layer);
  return fmt::format("{}: {}\n{}", printable(layer.path), layer_summary(layer), table.text("  "));
}

std::string chain_text(const openvhd::DiskInfo& info) {
  std::string out;
  for (std::size_t i = 0; i < info.layers.size(); ++i) {
    const auto& layer = info.layers[i];
    const auto branch = i == 0 ? std::string{} : std::string((i - 1) * 3, ' ') + "└─ ";
    out += fmt::format("{}{}: {}, {} on host{}\n", branch, printable(layer.path),
                       layer_summary(layer), human_size(layer.allocated_bytes),
                       layer.log == LogState::dirty ? ", dirty log" : "");
  }
  return out;
}

Json info_json(const openvhd::DiskInfo& info, const std::vector<std::string>& notes) {
  Json layers = Json::array();
  for (const auto& layer : info.layers) layers.push_back(layer_json(layer));
  return {{"schema", kJsonSchema}, {"driver", info.driver}, {"layers", layers}, {"notes", notes}};
}

}  // namespace vhdtool
