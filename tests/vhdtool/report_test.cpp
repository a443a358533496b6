#include "report.hpp"

#include <gtest/gtest.h>

namespace vhdtool {
namespace {

using openvhd::DumpNode;
using openvhd::Format;
using openvhd::LayerInfo;

LayerInfo sample_layer() {
  LayerInfo layer;
  layer.path = "child.vhdx";
  layer.format = Format::vhdx;
  layer.type = openvhd::DiskType::differencing;
  layer.geometry = {.virtual_size = std::uint64_t{10} << 30,
                    .logical_sector_size = 512,
                    .physical_sector_size = 4096,
                    .block_size = 2 << 20};
  layer.file_size = 8 << 20;
  layer.allocated_bytes = 5 << 20;
  layer.creator = "evil\x1b[2J";
  layer.identifier = openvhd::Guid{};
  layer.log = openvhd::LogState::dirty;
  layer.log_bytes = 1 << 20;
  layer.replayed_entries = 3;
  openvhd::BlockCounts blocks;
  blocks.total = 5120;
  blocks.not_present = 5118;
  blocks.fully_present = 2;
  layer.blocks = blocks;
  layer.parent_paths = {"relative_path: .\\base.vhdx"};
  return layer;
}

TEST(InfoText, ShowsEveryFact) {
  EXPECT_EQ(layer_text(sample_layer()),
            "child.vhdx: VHDX differencing, 10 GiB\n"
            "  virtual size  10 GiB (10,737,418,240 bytes)\n"
            "  file size     8 MiB (8,388,608 bytes)\n"
            "  on host       5 MiB (5,242,880 bytes)\n"
            "  block size    2 MiB\n"
            "  sectors       512 bytes logical, 4096 physical\n"
            "  creator       evil\\x1b[2J\n"
            "  identifier    00000000-0000-0000-0000-000000000000\n"
            "  log           dirty, 1 MiB, seen with 3 entries replayed in memory\n"
            "  blocks        5,120 in all: 2 fully present, 5,118 not present\n"
            "  parent        relative_path: .\\base.vhdx\n");
}

TEST(InfoText, ShowsAVhd) {
  LayerInfo layer;
  layer.path = "a.vhd";
  layer.format = Format::vhd;
  layer.geometry.virtual_size = 1 << 20;
  layer.creator = "win  6.3";
  layer.creator_os = "Windows";
  layer.created_unix = 946684800;
  layer.saved_state = true;
  EXPECT_EQ(layer_text(layer),
            "a.vhd: VHD fixed, 1 MiB\n"
            "  virtual size  1 MiB (1,048,576 bytes)\n"
            "  file size     0 bytes\n"
            "  on host       0 bytes\n"
            "  sectors       512 bytes logical, 512 physical\n"
            "  creator       win  6.3 on Windows\n"
            "  created       2000-01-01T00:00:00Z\n"
            "  saved state   yes: a virtual machine was suspended on it\n");
}

TEST(InfoText, DrawsTheChain) {
  openvhd::DiskInfo info;
  info.layers = {sample_layer(), sample_layer(), sample_layer()};
  info.layers[1].path = "mid.vhdx";
  info.layers[2].path = "base.vhdx";
  info.layers[2].log = openvhd::LogState::clean;
  EXPECT_EQ(chain_text(info),
            "child.vhdx: VHDX differencing, 10 GiB, 5 MiB on host, dirty log\n"
            "└─ mid.vhdx: VHDX differencing, 10 GiB, 5 MiB on host, dirty log\n"
            "   └─ base.vhdx: VHDX differencing, 10 GiB, 5 MiB on host\n");
}

TEST(InfoJson, HasStableKeysAndEscapes) {
  openvhd::DiskInfo info{.layers = {sample_layer()}, .driver = "io_uring"};
  info.layers[0].path = "a\"\xff.vhdx";
  const auto text = json_text(info_json(info, {"a note"}));
  const auto parsed = Json::parse(text);
  const auto& layer = parsed["layers"][0];
  EXPECT_EQ(layer["path"], "a\"\xef\xbf\xbd.vhdx");
  EXPECT_EQ(layer["virtual_size"], 10737418240U);
  EXPECT_TRUE(layer["virtual_size"].is_number_unsigned());
  EXPECT_TRUE(layer["created_unix"].is_null());
  EXPECT_TRUE(layer["data_write_guid"].is_null());
  EXPECT_EQ(layer["log"]["state"], "dirty");
  EXPECT_EQ(layer["blocks"]["not_present"], 5118);
  EXPECT_EQ(parsed["schema"], kJsonSchema);
  EXPECT_EQ(parsed["notes"][0], "a note");
}

TEST(UtcText, CoversFourDigitYears) {
  EXPECT_EQ(utc_text(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(utc_text(253402300799), "9999-12-31T23:59:59Z");
  EXPECT_EQ(utc_text(-1), "1969-12-31T23:59:59Z");
  EXPECT_EQ(utc_text(253402300800), "253402300800 s");
}

DumpNode sample_dump() {
  DumpNode leaf;
  leaf.name = "checksum";
  leaf.value = "0x12345678";
  leaf.number = 0x12345678;
  leaf.at = openvhd::FileOffset{0x10004};
  leaf.problem = "is wrong";
  DumpNode text;
  text.name = "version";
  text.value = "1";
  DumpNode header;
  header.name = "header 1";
  header.at = openvhd::FileOffset{0x10000};
  header.children = {leaf, text};
  DumpNode root;
  root.name = "vhdx";
  root.children = {header};
  return root;
}

TEST(DumpText, IndentsAndMarksProblems) {
  EXPECT_EQ(dump_text(sample_dump()),
            "                vhdx\n"
            "0x000000010000    header 1\n"
            "0x000000010004      checksum  0x12345678  <-- is wrong\n"
            "                    version   1\n");
}

TEST(DumpJson, KeepsOnlyWhatIsThere) {
  const auto json = dump_json(sample_dump());
  const auto& header = json["image"]["children"][0];
  EXPECT_FALSE(json["image"].contains("offset"));
  EXPECT_EQ(header["offset"], 0x10000);
  EXPECT_EQ(header["children"][0]["number"], 0x12345678);
  EXPECT_EQ(header["children"][0]["problem"], "is wrong");
  EXPECT_FALSE(header["children"][1].contains("number"));
}

TEST(WorkText, SumsUp) {
  openvhd::ConvertResult result;
  result.virtual_size = 4 << 20;
  result.copied_bytes = 1 << 20;
  result.skipped_bytes = 3 << 20;
  EXPECT_EQ(convert_text(result), "4 MiB (4,194,304 bytes): 1 MiB copied, 3 MiB skipped\n");
  EXPECT_EQ(replay_text({}, false), "clean: nothing to replay\n");
  openvhd::ReplayResult replayed;
  replayed.was_dirty = true;
  replayed.entries = 2;
  replayed.sectors = 5;
  replayed.first_sequence = 7;
  replayed.last_sequence = 8;
  replayed.file_size_before = 8 << 20;
  replayed.file_size_after = 9 << 20;
  EXPECT_EQ(replay_text(replayed, true),
            "would replay 2 entries (sequence 7 to 8): 5 sectors of 4 KiB written, 0 bytes zeroed\n"
            "file size: 8 MiB (8,388,608 bytes) would become 9 MiB (9,437,184 bytes)\n");
}

}  // namespace
}  // namespace vhdtool
