#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/try.hpp"
#include "vhdx/dump_nodes.hpp"
#include "vhdx/dump_parts.hpp"
#include "vhdx/parse.hpp"
#include "vhdx/regions.hpp"
#include "vhdx/table_reader.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::vhdx {
namespace {

DumpNode dump_header(const HeaderCopy& copy, unsigned index, bool current) {
  const Header& h = copy.header;
  DumpStruct out{"header", kHeaderAt[index]};
  out.value(std::string{index == 0 ? "first copy" : "second copy"} + (current ? ", current" : ""));
  out.problem(copy.problem);
  out.hex_field("signature", 0, h.signature).hex_field("checksum", 4, h.checksum);
  out.count_field("sequence_number", 8, h.sequence_number);
  out.guid_field("file_write_guid", 16, h.file_write_guid);
  out.guid_field("data_write_guid", 32, h.data_write_guid).guid_field("log_guid", 48, h.log_guid);
  out.count_field("log_version", 64, h.log_version).count_field("version", 66, h.version);
  out.hex_field("log_length", 68, h.log_length).hex_field("log_offset", 72, h.log_offset);
  return out.take();
}

const char* region_name(const Guid& id) {
  if (id == kBatRegion) return "BAT";
  if (id == kMetadataRegion) return "metadata";
  return "unknown region";
}

DumpNode dump_region_table(const RegionTableCopy& table, unsigned index, bool current,
                           std::uint64_t max_entries) {
  DumpStruct out{"region_table", kRegionTableAt[index]};
  out.value(std::string{index == 0 ? "first copy" : "second copy"} + (current ? ", current" : ""));
  out.problem(table.problem);
  out.hex_field("signature", 0, table.header.signature);
  out.hex_field("checksum", 4, table.header.checksum);
  out.count_field("entry_count", 8, table.header.entry_count);
  for (std::size_t i = 0; i < std::min<std::uint64_t>(table.entries.size(), max_entries); ++i) {
    const RegionTableEntry& entry = table.entries[i];
    DumpStruct node{"region_table_entry", kRegionTableAt[index] + 16 + i * sizeof(entry)};
    node.value(region_name(entry.guid)).guid_field("guid", 0, entry.guid);
    node.hex_field("file_offset", 16, entry.file_offset).hex_field("length", 24, entry.length);
    node.hex_field("required", 28, entry.required);
    out.child(node.take());
  }
  return out.take();
}

const char* payload_state_name(unsigned state) {
  static constexpr std::array kNames{"NOT_PRESENT",   "UNDEFINED",        "ZERO",
                                     "UNMAPPED",      "reserved 4",       "reserved 5",
                                     "FULLY_PRESENT", "PARTIALLY_PRESENT"};
  return kNames[state & 7];
}

const char* bitmap_state_name(unsigned state) {
  if (state == 0) return "NOT_PRESENT";
  return state == 6 ? "PRESENT" : "reserved";
}

DumpNode dump_entry(const TableEntry& e, const ParsedImage& image) {
  const std::uint64_t ratio = image.counts.chunk_ratio;
  const bool bitmap = is_bitmap_index(e.index, ratio);
  DumpStruct out{bitmap ? "sector_bitmap_entry" : "payload_entry", e.at};
  const unsigned state = e.entry.state_bits();
  out.value(bitmap ? bitmap_state_name(state) : payload_state_name(state));
  out.count_field("index", 0, e.index);
  if (bitmap) {
    out.count_field("chunk", 0, chunk_of_index(e.index, ratio));
  } else {
    out.count_field("block", 0, block_of_index(e.index, ratio));
  }
  out.count_field("state", 0, state).hex_field("file_offset", 0, e.entry.offset().value);
  if (e.entry.reserved_bits() != 0) out.hex_field("reserved", 0, e.entry.reserved_bits());
  if (e.index >= image.counts.entries) {
    out.problem("past the last entry of the disk");
    return out.take();
  }
  const EntryRules rules = image.entry_rules(image.file_bytes);
  const Status valid =
      bitmap ? validate_bitmap_entry(e.entry, rules, e.at)
             : validate_payload_entry(e.entry, block_of_index(e.index, ratio), rules, e.at);
  if (!valid) out.problem(valid.error().what);
  return out.take();
}

Result<DumpNode> dump_bat(File& file, const ParsedImage& image, std::uint64_t max_entries) {
  DumpStruct out{"bat", image.bat.at};
  out.hex_field("length", 0, image.bat.length);
  out.count_field("chunk_ratio", 0, image.counts.chunk_ratio);
  out.count_field("payload_blocks", 0, image.counts.payload_blocks);
  out.count_field("sector_bitmap_blocks", 0, image.has_parent ? image.counts.bitmap_blocks : 0);
  out.count_field("entries", 0, image.counts.entries);
  std::uint64_t listed = 0;
  // Ends the walk; never leaves this function.
  const Error enough{.code = Errc::cancelled, .what = "enough entries"};
  const Status walked = for_each_entry(
      file, image.bat, image.bat.length / kBatEntryBytes,
      [&](const TableEntry& e) -> Status {
        if (listed++ == max_entries) return enough;
        out.child(dump_entry(e, image));
        return Ok{};
      },
      [](std::uint64_t) -> Status { return Ok{}; });
  if (!walked && walked.error().code == Errc::io) return walked.error();
  if (!walked && walked.error().code == Errc::cancelled) {
    out.value("the first " + std::to_string(max_entries) + " entries that are not empty");
  } else if (!walked) {
    out.problem(walked.error().what);
  }
  return out.take();
}

}  // namespace

Result<DumpNode> dump(File& file, std::uint64_t max_entries) {
  OVHD_TRY(const bool is_vhdx, probe(file));
  if (!is_vhdx) {
    return Error{.code = Errc::unsupported, .what = "file identifier: signature (2.2.1, X01)"};
  }
  OVHD_TRY(const std::uint64_t file_bytes, file.size());
  DumpStruct out{"vhdx", {0}};
  out.hex_field("file_size", 0, file_bytes);
  Judge judge;
  if (auto creator = read_identifier(file, judge)) {
    DumpStruct identifier{"file_identifier", {0}};
    out.child(identifier.text_field("signature", 0, "vhdxfile")
                  .text_field("creator", 8, std::move(*creator))
                  .take());
  }
  if (file_bytes < kHeaderSectionBytes) {
    return out.problem("header section: the file is shorter than 1 MiB (2.2, X01)").take();
  }
  const auto head = parse_head(file, judge);
  if (!head && head.error().code == Errc::io) return head.error();
  for (unsigned copy = 0; copy < 2; ++copy) {
    OVHD_TRY(const HeaderCopy header, read_header(file, copy));
    out.child(dump_header(header, copy, head && head->current == copy));
  }
  // Without a current header tables and metadata are still worth a look.
  ParsedHead known;
  known.file_bytes = file_bytes;
  if (head) known = *head;
  Judge body_judge;
  ParsedImage image;
  const Status parsed = parse_body(file, known, image, body_judge);
  if (!parsed && parsed.error().code == Errc::io) return parsed.error();
  for (unsigned copy = 0; copy < 2; ++copy) {
    OVHD_TRY(const RegionTableCopy table, read_region_table(file, copy));
    const bool current = table.problem == nullptr && image.current_region_table == copy;
    out.child(dump_region_table(table, copy, current, max_entries));
  }
  if (head) {
    OVHD_TRY(DumpNode log, dump_log(file, *head, max_entries));
    out.child(std::move(log));
  }
  if (image.metadata.length != 0) {
    OVHD_TRY(DumpNode metadata, dump_metadata(file, image.metadata, max_entries));
    out.child(std::move(metadata));
  }
  if (parsed) {
    OVHD_TRY(DumpNode bat, dump_bat(file, image, max_entries));
    out.child(std::move(bat));
  }
  if (!head) {
    out.problem(head.error().what);
  } else if (auto rules = body_judge.status(); !rules) {
    out.problem(rules.error().what);
  }
  return out.take();
}

}  // namespace openvhd::vhdx
