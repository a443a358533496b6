// replay(), repair() and dump() on images made by hand.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/bytes.hpp"
#include "support/fixed_host.hpp"
#include "vhdx/image_builder.hpp"
#include "vhdx/load_support.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

constexpr std::uint64_t kM = kMegabyte;

std::size_t findings_in(const std::shared_ptr<MemoryStore>& store) {
  MemoryFile file{store};
  std::vector<Finding> findings;
  EXPECT_TRUE(vhdx::check(file, findings, 100, nullptr));
  return findings.size();
}

std::shared_ptr<MemoryStore> dirty_store() {
  Image image;
  std::vector<std::byte> log(kM);
  std::size_t at =
      put_entry(log, 0,
                {.sequence = 8,
                 .last = 6 * kM,
                 .writes = {{.at = 3 * kM + 4096, .sector = sector_of(0)},
                            {.at = 3 * kM + 8192, .sector = {}, .zero_length = 8192}}});
  put_entry(
      log, at,
      {.sequence = 9, .last = 7 * kM, .writes = {{.at = 3 * kM + 4096, .sector = sector_of(0)}}});
  image.make_dirty(log);
  return image.build();
}

TEST(VhdxReplayDoor, TellsWhatItDoes) {
  for (const bool dry_run : {true, false}) {
    const auto store = dirty_store();
    MemoryFile file{store};
    const auto before = read_all(file);
    FixedHost host;
    const auto result = vhdx::replay(file, dry_run, host);
    ASSERT_TRUE(result) << result.error().what;
    EXPECT_TRUE(result->was_dirty);
    EXPECT_EQ(result->entries, 2u);
    EXPECT_EQ(result->sectors, 2u);
    EXPECT_EQ(result->zeroed_bytes, 8192u);
    EXPECT_EQ(result->first_sequence, 8u);
    EXPECT_EQ(result->last_sequence, 9u);
    EXPECT_EQ(result->file_size_before, 5 * kM);
    EXPECT_EQ(result->file_size_after, 7 * kM);
    EXPECT_EQ(read_all(file) == before, dry_run);
    EXPECT_EQ(store->size, dry_run ? 5 * kM : 7 * kM);
    const auto again = vhdx::replay(file, true, host);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->was_dirty, dry_run);
  }
}

TEST(VhdxReplayDoor, ACleanImageIsLeftAlone) {
  MemoryFile file{Image{}.build()};
  const auto before = read_all(file);
  FixedHost host;
  const auto result = vhdx::replay(file, false, host);
  ASSERT_TRUE(result);
  EXPECT_FALSE(result->was_dirty);
  EXPECT_EQ(result->file_size_after, 5 * kM);
  EXPECT_EQ(read_all(file), before);
}

struct Damage {
  const char* name;
  std::size_t actions;
  void (*change)(Image&);
};

const Damage kDamages[] = {
    {"FirstHeader", 1, [](Image& i) { i.headers[0].present = false; }},
    {"SecondHeader", 1, [](Image& i) { i.headers[1].present = false; }},
    {"FirstTable", 1, [](Image& i) { i.extra.emplace_back(196608, filled(8, 0)); }},
    {"SecondTable", 1, [](Image& i) { i.extra.emplace_back(262144 + 100, filled(8, 1)); }},
    {"TablesDiffer", 1, [](Image& i) { i.regions[1].pop_back(); }},
    {"HeaderAndTable", 2,
     [](Image& i) {
       i.headers[1].present = false;
       i.extra.emplace_back(196608, filled(8, 0));
     }},
    {"SizeUnaligned", 1, [](Image& i) { i.file_bytes = 5 * kM + 512; }},
    {"LastBlockShort", 1,
     [](Image& i) {
       i.set_item(kSizeGuid, 8, kM - 4096);
       i.file_bytes = 5 * kM - 4096;
     }},
    {"DirtyAndTable", 2,
     [](Image& i) {
       std::vector<std::byte> log(kM);
       put_entry(log, 0, {});
       i.make_dirty(log);
       i.extra.emplace_back(262144, filled(8, 0));
     }},
};

class VhdxRepair : public ::testing::TestWithParam<Damage> {};

TEST_P(VhdxRepair, MendsAndLosesNothing) {
  Image image;
  GetParam().change(image);
  const auto store = image.build();
  EXPECT_GT(findings_in(store), 0u);
  MemoryFile file{store};
  const auto payload = read_at(file, 4 * kM, kM - 4096);
  FixedHost host;
  std::vector<std::string> actions;
  const Status repaired = vhdx::repair(file, host, actions);
  ASSERT_TRUE(repaired) << repaired.error().what;
  EXPECT_EQ(actions.size(), GetParam().actions);
  EXPECT_EQ(findings_in(store), 0u);
  EXPECT_EQ(read_at(file, 4 * kM, kM - 4096), payload);
  EXPECT_EQ(store->size % kM, 0u);
  // A second time there is nothing to do.
  const auto mended = read_all(file);
  actions.clear();
  ASSERT_TRUE(vhdx::repair(file, host, actions));
  EXPECT_TRUE(actions.empty());
  EXPECT_EQ(read_all(file), mended);
}

INSTANTIATE_TEST_SUITE_P(All, VhdxRepair, ::testing::ValuesIn(kDamages),
                         [](const auto& param) { return std::string{param.param.name}; });

TEST(VhdxRepairDoor, AHealthyImageIsNotTouched) {
  MemoryFile file{Image{}.build()};
  const auto before = read_all(file);
  FixedHost host;
  std::vector<std::string> actions;
  ASSERT_TRUE(vhdx::repair(file, host, actions));
  EXPECT_TRUE(actions.empty());
  EXPECT_EQ(read_all(file), before);
}

TEST(VhdxRepairDoor, WhatCannotBeMendedIsNotTouched) {
  Image image;
  image.headers[0].present = false;
  image.bat.emplace_back(3, 4 * kM | 6);  // two owners: which one is right nobody knows
  MemoryFile file{image.build()};
  const auto before = read_all(file);
  FixedHost host;
  std::vector<std::string> actions;
  EXPECT_FALSE(vhdx::repair(file, host, actions));
  EXPECT_TRUE(actions.empty());
  EXPECT_EQ(read_all(file), before);
}

const DumpNode* find(const DumpNode& node, const std::string& name, const std::string& value) {
  if (node.name == name && (value.empty() || node.value == value)) return &node;
  for (const DumpNode& child : node.children) {
    if (const DumpNode* found = find(child, name, value)) return found;
  }
  return nullptr;
}

DumpNode dumped(const std::shared_ptr<MemoryStore>& store, std::uint64_t most = 100) {
  MemoryFile file{store, {.writable = false}};
  auto node = vhdx::dump(file, most);
  EXPECT_TRUE(node) << node.error().what;
  return *std::move(node);
}

TEST(VhdxDump, ShowsEveryStructure) {
  Image image;
  image.add_parent({{"parent_linkage", "{" + kLogGuid + "}"}, {"relative_path", "p.vhdx"}});
  image.bat.emplace_back(3, 2);
  const DumpNode root = dumped(image.build());
  EXPECT_EQ(root.problem, "");
  for (const char* name : {"file_identifier", "log", "metadata", "bat"}) {
    EXPECT_NE(find(root, name, ""), nullptr) << name;
  }
  EXPECT_NE(find(root, "header", "first copy"), nullptr);
  const DumpNode* current = find(root, "header", "second copy, current");
  ASSERT_NE(current, nullptr);
  EXPECT_EQ(current->at->value, 131072u);
  EXPECT_EQ(find(*current, "sequence_number", "")->number, 2u);
  EXPECT_EQ(find(*current, "log_offset", "")->at->value, 131072u + 72);
  EXPECT_NE(find(root, "region_table", "first copy, current"), nullptr);
  EXPECT_NE(find(root, "region_table", "second copy"), nullptr);
  EXPECT_EQ(find(root, "virtual_disk_size", "")->number, 16 * kM);
  EXPECT_NE(find(root, "relative_path", "p.vhdx"), nullptr);
  const DumpNode* block = find(root, "payload_entry", "FULLY_PRESENT");
  ASSERT_NE(block, nullptr);
  EXPECT_EQ(block->at->value, 3 * kM);
  EXPECT_NE(find(root, "payload_entry", "ZERO"), nullptr);
}

TEST(VhdxDump, ListsAtMostWhatIsAsked) {
  Image image;
  for (std::uint64_t n = 1; n < 10; ++n) image.bat.emplace_back(n, 2);
  const DumpNode root = dumped(image.build(), 4);
  const DumpNode* bat = find(root, "bat", "");
  ASSERT_NE(bat, nullptr);
  EXPECT_EQ(std::ranges::count(bat->children, "payload_entry", &DumpNode::name), 4);
}

TEST(VhdxDump, ShowsTheLogAsItIsInTheFile) {
  const DumpNode root = dumped(dirty_store());
  const DumpNode* log = find(root, "log", "2 entries to be replayed");
  ASSERT_NE(log, nullptr);
  EXPECT_EQ(std::ranges::count(log->children, "log_entry", &DumpNode::name), 2);
  EXPECT_EQ(find(*log, "zero_length", "")->number, 8192u);
}

TEST(VhdxDump, DamagedStructuresAreShownWithWhatIsWrong) {
  Image image;
  image.headers[0].present = false;
  image.extra.emplace_back(196608 + 20, filled(4, 1));
  image.bat[0].second = 4 * kM | 5;
  const DumpNode root = dumped(image.build());
  EXPECT_EQ(find(root, "header", "first copy")->problem, "signature");
  EXPECT_EQ(find(root, "region_table", "first copy")->problem, "checksum");
  EXPECT_NE(find(root, "payload_entry", "reserved 5")->problem.find("X12"), std::string::npos);

  Image headless;
  headless.headers[0].present = headless.headers[1].present = false;
  const DumpNode rest = dumped(headless.build());
  EXPECT_NE(rest.problem.find("X02"), std::string::npos);
  EXPECT_NE(find(rest, "virtual_disk_size", ""), nullptr);
}

TEST(VhdxDump, OtherFilesAreUnsupported) {
  MemoryFile file{filled(5000, 1)};
  const auto node = vhdx::dump(file, 10);
  ASSERT_FALSE(node);
  EXPECT_EQ(node.error().code, Errc::unsupported);
}

}  // namespace
}  // namespace openvhd::test
