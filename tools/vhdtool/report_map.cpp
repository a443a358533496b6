#include "report_map.hpp"

#include <fmt/format.h>

#include "size.hpp"
#include "text.hpp"

namespace vhdtool {

using openvhd::MapEntry;
using Kind = MapEntry::Kind;

const char* kind_name(Kind kind) noexcept {
  switch (kind) {
    case Kind::data:
      return "data";
    case Kind::zero:
      return "zero";
    case Kind::hole:
      return "hole";
  }
  return "?";
}

void MapMerger::add(const MapEntry& entry) {
  const bool data = entry.kind == Kind::data;
  const bool same = run_ && run_->entry.kind == entry.kind &&
                    (entry.kind == Kind::hole || run_->entry.layer == entry.layer);
  const bool contiguous = !data || entry.host_offset == data_end_;
  if (same && (contiguous || by_ == By::kind)) {
    run_->entry.length += entry.length;
    if (!contiguous) ++run_->pieces;
  } else {
    finish();
    run_ = MapRun{.entry = entry};
  }
  if (data) data_end_ = entry.host_offset + entry.length;
}

void MapMerger::finish() {
  if (run_) emit_(*run_);
  run_.reset();
}

std::string map_header() {
  return fmt::format("{:<16}{:>12}  {:<6}{:<6}{}\n", "offset", "length", "kind", "file", "at");
}

std::string map_row(const MapRun& run) {
  const auto& entry = run.entry;
  auto line = fmt::format("{:#014x}  {:>12}  {:<6}", entry.at.value, human_size(entry.length),
                          kind_name(entry.kind));
  if (entry.kind != Kind::hole) line += fmt::format("{:<6}", entry.layer);
  if (entry.kind == Kind::data) {
    line += fmt::format("{:#x}", entry.host_offset.value);
    if (run.pieces > 1) line += fmt::format(" (in {} pieces)", grouped(run.pieces));
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line + '\n';
}

Json map_entry_json(const MapEntry& entry) {
  const bool data = entry.kind == Kind::data;
  return {{"offset", entry.at.value},
          {"length", entry.length},
          {"kind", kind_name(entry.kind)},
          {"layer", entry.kind == Kind::hole ? Json(nullptr) : Json(entry.layer)},
          {"host_offset", data ? Json(entry.host_offset.value) : Json(nullptr)}};
}

void MapTotals::add(const MapEntry& entry) {
  switch (entry.kind) {
    case Kind::data:
      if (data_.size() <= entry.layer) data_.resize(std::size_t{entry.layer} + 1);
      data_[entry.layer] += entry.length;
      return;
    case Kind::zero:
      zero_ += entry.length;
      return;
    case Kind::hole:
      hole_ += entry.length;
  }
}

std::string MapTotals::text(const std::vector<std::string>& files) const {
  Table table{{Table::Align::left, Table::Align::right, Table::Align::left}};
  for (std::size_t layer = 0; layer < data_.size(); ++layer) {
    if (data_[layer] == 0) continue;
    const auto name = layer < files.size() ? printable(files[layer]) : std::string{"?"};
    table.row({"data", human_size(data_[layer]), fmt::format("in file {}: {}", layer, name)});
  }
  if (zero_ != 0) table.row({"zero", human_size(zero_), "zeros by metadata"});
  if (hole_ != 0) table.row({"hole", human_size(hole_), "stored nowhere, reads as zeros"});
  return table.text("");
}

}  // namespace vhdtool
