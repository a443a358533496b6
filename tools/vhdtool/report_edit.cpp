// What changed in an image that was closed.
#include <fmt/format.h>

#include "report.hpp"
#include "size.hpp"

namespace vhdtool {
namespace {

const char* basis_name(openvhd::SizeBasis basis) noexcept {
  switch (basis) {
    case openvhd::SizeBasis::gpt:
      return "gpt";
    case openvhd::SizeBasis::mbr:
      return "mbr";
    case openvhd::SizeBasis::data:
      return "data";
    case openvhd::SizeBasis::parent:
      return "parent";
  }
  return "";
}

const char* basis_text(openvhd::SizeBasis basis) noexcept {
  switch (basis) {
    case openvhd::SizeBasis::gpt:
      return "the partitions of its GPT";
    case openvhd::SizeBasis::mbr:
      return "the partitions of its MBR";
    case openvhd::SizeBasis::data:
      return "its last data, as it has no partition table";
    case openvhd::SizeBasis::parent:
      return "its parent's size";
  }
  return "";
}

}  // namespace

std::string resize_text(const openvhd::ResizeResult& result) {
  if (result.old_size == result.new_size && !result.gpt_moved) {
    return fmt::format("is {} already\n", exact_size(result.new_size));
  }
  std::string text =
      result.old_size == result.new_size
          ? fmt::format("stays {}\n", exact_size(result.new_size))
          : fmt::format("{} became {}\n", exact_size(result.old_size), exact_size(result.new_size));
  if (result.smallest.bytes != 0) {
    text += fmt::format("smallest size that loses nothing: {}, by {}\n",
                        exact_size(result.smallest.bytes), basis_text(result.smallest.basis));
  }
  if (result.gpt_moved) text += "the backup of the GPT was moved to the end of the disk\n";
  if (result.gpt_must_move) {
    text +=
        "the backup of the GPT is not at the end of the disk: --fix-gpt, or a partition tool, "
        "moves it\n";
  }
  return text;
}

Json resize_json(const openvhd::ResizeResult& result) {
  Json smallest = nullptr;
  if (result.smallest.bytes != 0) {
    smallest = {{"bytes", result.smallest.bytes}, {"basis", basis_name(result.smallest.basis)}};
  }
  return {{"schema", kJsonSchema},
          {"old_size", result.old_size},
          {"new_size", result.new_size},
          {"file_size_before", result.file_size_before},
          {"file_size_after", result.file_size_after},
          {"table_moved", result.table_moved},
          {"smallest", std::move(smallest)},
          {"gpt",
           {{"present", result.has_gpt},
            {"moved", result.gpt_moved},
            {"must_move", result.gpt_must_move}}}};
}

std::string compact_text(const openvhd::CompactResult& result, bool dry_run) {
  const bool shorter = result.file_size_after != result.file_size_before;
  std::string text =
      shorter ? fmt::format("{} {} {}", exact_size(result.file_size_before),
                            dry_run ? "would become" : "became", exact_size(result.file_size_after))
              : fmt::format("{} {}", dry_run ? "would stay" : "stays",
                            exact_size(result.file_size_after));
  if (result.moved_blocks != 0) {
    text += fmt::format(", {} {}", counted(result.moved_blocks, "block"),
                        dry_run ? "to move" : "moved");
  }
  if (result.released_bytes != 0) {
    text += fmt::format(", {} let go", human_size(result.released_bytes));
  }
  if (result.zero_blocks != 0) {
    text += fmt::format(" ({} of zeros)", counted(result.zero_blocks, "block"));
  }
  return text + '\n';
}

Json compact_json(const openvhd::CompactResult& result, bool dry_run) {
  return {{"schema", kJsonSchema},
          {"dry_run", dry_run},
          {"file_size_before", result.file_size_before},
          {"file_size_after", result.file_size_after},
          {"zero_blocks", result.zero_blocks},
          {"released_bytes", result.released_bytes},
          {"moved_blocks", result.moved_blocks},
          {"moved_bytes", result.moved_bytes}};
}

}  // namespace vhdtool
