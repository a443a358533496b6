#include <fmt/format.h>

#include "report.hpp"
#include "size.hpp"

namespace vhdtool {

std::string convert_text(const openvhd::ConvertResult& result) {
  std::string parts;
  const auto add = [&parts](std::uint64_t bytes, const char* what) {
    if (bytes == 0) return;
    parts += fmt::format("{}{} {}", parts.empty() ? ": " : ", ", human_size(bytes), what);
  };
  add(result.copied_bytes, "copied");
  add(result.cloned_bytes, "shared with the source");
  add(result.zero_bytes, "found zero");
  add(result.skipped_bytes, "skipped");
  return exact_size(result.virtual_size) + parts + '\n';
}

Json convert_json(const openvhd::ConvertResult& result) {
  return {{"schema", kJsonSchema},
          {"virtual_size", result.virtual_size},
          {"copied_bytes", result.copied_bytes},
          {"cloned_bytes", result.cloned_bytes},
          {"zero_bytes", result.zero_bytes},
          {"skipped_bytes", result.skipped_bytes},
          {"notes", result.notes}};
}

std::string replay_text(const openvhd::ReplayResult& result, bool dry_run) {
  if (!result.was_dirty) return "clean: nothing to replay\n";
  auto text = fmt::format(
      "{} {} (sequence {} to {}): {} of 4 KiB written, {} zeroed\n",
      dry_run ? "would replay" : "replayed",
      result.entries == 1 ? std::string{"1 entry"} : grouped(result.entries) + " entries",
      result.first_sequence, result.last_sequence, counted(result.sectors, "sector"),
      human_size(result.zeroed_bytes));
  if (result.file_size_after != result.file_size_before) {
    text += fmt::format("file size: {} {} {}\n", exact_size(result.file_size_before),
                        dry_run ? "would become" : "became", exact_size(result.file_size_after));
  }
  return text;
}

Json replay_json(const openvhd::ReplayResult& result, bool dry_run) {
  return {{"schema", kJsonSchema},
          {"dry_run", dry_run},
          {"was_dirty", result.was_dirty},
          {"entries", result.entries},
          {"sectors", result.sectors},
          {"zeroed_bytes", result.zeroed_bytes},
          {"first_sequence", result.first_sequence},
          {"last_sequence", result.last_sequence},
          {"file_size_before", result.file_size_before},
          {"file_size_after", result.file_size_after}};
}

}  // namespace vhdtool
