// The checker itself: images that are sound are, damaged ones are named by their rule, and what it
// says of contents is what the engine says.
#include <gtest/gtest.h>

#include <functional>

#include "base/checked.hpp"
#include "crash/verify/bytes.hpp"
#include "crash/workload.hpp"
#include "support/bytes.hpp"

namespace openvhd::test {
namespace {

struct Damage {
  const char* name;
  const char* workload;
  const char* rule;
  void (*apply)(MemoryFile&);
};

void put(MemoryFile& file, std::uint64_t at, std::initializer_list<int> bytes) {
  patch(file, at, bytes);
}

/// Makes a 4 KiB or 64 KiB VHDX structure's checksum fit again.
void seal(MemoryFile& file, std::uint64_t at, std::size_t length) {
  const auto bytes = read_at(file, at, length);
  const std::uint32_t crc = verify::crc32c_of(bytes, 4);
  put(file, at + 4, {int(crc & 0xff), int(crc >> 8 & 0xff), int(crc >> 16 & 0xff), int(crc >> 24)});
}

void both_regions(MemoryFile& file, std::uint64_t at, std::initializer_list<int> bytes) {
  for (const std::uint64_t table : {192 * kKiB, 256 * kKiB}) {
    put(file, table + at, bytes);
    seal(file, table, 64 * kKiB);
  }
}

void both_headers(MemoryFile& file, std::uint64_t at, std::initializer_list<int> bytes) {
  for (const std::uint64_t header : {64 * kKiB, 128 * kKiB}) {
    put(file, header + at, bytes);
    seal(file, header, 4096);
  }
}

// As create() lays them out: log at 1 MiB, metadata at 2 MiB, table at 3 MiB.
constexpr std::uint64_t kItems = 2 * kMiB + 64 * kKiB;
constexpr std::uint64_t kTable = 3 * kMiB;
const char* const kDynamicImage = "vhdx_dynamic_overwrite";
const char* const kChildImage = "vhdx_child_bitmaps";
const char* const kVhdImage = "vhd_dynamic_overwrite";

const Damage kDamages[] = {
    {"Identifier", kDynamicImage, "X01", [](MemoryFile& f) { put(f, 0, {'x'}); }},
    {"BothHeaders", kDynamicImage, "X02",
     [](MemoryFile& f) {
       put(f, 64 * kKiB + 100, {1});
       put(f, 128 * kKiB + 100, {1});
     }},
    {"Version", kDynamicImage, "X03", [](MemoryFile& f) { both_headers(f, 66, {2}); }},
    {"LogPastTheEnd", kDynamicImage, "X03", [](MemoryFile& f) { both_headers(f, 74, {0, 0, 9}); }},
    {"SequenceEnds", kDynamicImage, "X04",
     [](MemoryFile& f) {
       put(f, 128 * kKiB + 100, {1});
       both_headers(f, 8, {255, 255, 255, 255, 255, 255, 255, 255});
       put(f, 128 * kKiB + 4, {0, 0, 0, 0});
     }},
    {"RegionTablesDiffer", kDynamicImage, "X05",
     [](MemoryFile& f) {
       put(f, 192 * kKiB + 1000, {1});
       seal(f, 192 * kKiB, 64 * kKiB);
     }},
    {"RegionPastTheEnd", kDynamicImage, "X06",
     [](MemoryFile& f) { both_regions(f, 16 + 16 + 3, {0x40}); }},
    {"RegionOverLog", kDynamicImage, "X07",
     [](MemoryFile& f) { both_regions(f, 16 + 16, {0, 0, 0x10}); }},
    {"MetadataSignature", kDynamicImage, "X08", [](MemoryFile& f) { put(f, 2 * kMiB, {0}); }},
    {"ItemMissing", kDynamicImage, "X09", [](MemoryFile& f) { put(f, 2 * kMiB + 10, {4}); }},
    {"DiskSize", kDynamicImage, "X10", [](MemoryFile& f) { put(f, kItems + 8, {1}); }},
    {"TableTooSmall", kDynamicImage, "X11",
     [](MemoryFile& f) { put(f, kItems + 8, {0, 0, 0, 0, 0, 16}); }},
    {"StateFive", kDynamicImage, "X12", [](MemoryFile& f) { put(f, kTable, {5}); }},
    {"ReservedBits", kDynamicImage, "X12", [](MemoryFile& f) { put(f, kTable + 1, {1}); }},
    {"BlockPastTheEnd", kDynamicImage, "X13", [](MemoryFile& f) { put(f, kTable + 4, {1}); }},
    {"BlockOverBlock", kDynamicImage, "X14",
     [](MemoryFile& f) {
       const auto entry = read_at(f, kTable, 8);
       patch(f, kTable + 8, entry);
     }},
    {"BlockOverTable", kDynamicImage, "X07",
     [](MemoryFile& f) { put(f, kTable, {6, 0, 0x30, 0}); }},
    {"NoBitmap", kChildImage, "X15",
     [](MemoryFile& f) {
       // 6 MiB in 1 MiB blocks: the bitmap entry of the chunk comes after 4096 others.
       put(f, kTable + 8 * 4096, {0, 0, 0, 0, 0});
       put(f, kTable, {7});
     }},
    {"FixedWithAHole", "vhdx_fixed_write", "X16",
     [](MemoryFile& f) { put(f, kTable, {0, 0, 0, 0, 0, 0, 0, 0}); }},
    {"NoLocator", kChildImage, "X17", [](MemoryFile& f) { put(f, kItems + 4, {0}); }},
    {"LogIsEmpty", kDynamicImage, "L01", [](MemoryFile& f) { both_headers(f, 48, {1}); }},
    {"VhdNoFooter", kVhdImage, "V01",
     [](MemoryFile& f) {
       put(f, 0, {0});
       put(f, *f.size() - 512, {0});
     }},
    {"VhdFootersDiffer", kVhdImage, "V02",
     [](MemoryFile& f) {
       put(f, 24, {0x7f});
       const auto bytes = read_at(f, 0, 512);
       const std::uint32_t sum = verify::vhd_checksum(bytes, 64);
       put(f, 64, {int(sum >> 24), int(sum >> 16 & 0xff), int(sum >> 8 & 0xff), int(sum & 0xff)});
     }},
    {"VhdHeader", kVhdImage, "V02", [](MemoryFile& f) { put(f, 512 + 300, {1}); }},
    {"VhdBlockPastTheFooter", kVhdImage, "V04", [](MemoryFile& f) { put(f, 1536, {0, 1, 0, 0}); }},
    {"VhdBlockOverHeader", kVhdImage, "V04", [](MemoryFile& f) { put(f, 1536, {0, 0, 0, 1}); }},
};

class VerifyDamage : public testing::TestWithParam<Damage> {};

std::shared_ptr<MemoryStore> closed_image(const Workload& workload, Contents* contents = nullptr) {
  const Surroundings around;
  Actor actor{workload.shape, 1, around};
  workload.run(actor);
  EXPECT_EQ(actor.trouble(), "");
  if (actor.is_open()) actor.close();
  auto store = std::make_shared<MemoryStore>(actor.disk().now());
  if (contents != nullptr) *contents = second_opinion(workload.shape, *store).contents;
  return store;
}

TEST_P(VerifyDamage, IsNamedByItsRule) {
  const Workload* const workload = find_workload(GetParam().workload);
  ASSERT_NE(workload, nullptr);
  const auto store = closed_image(*workload);
  ASSERT_EQ(second_opinion(workload->shape, *store).wrong, "");
  MemoryFile file{store};
  GetParam().apply(file);
  const std::string wrong = second_opinion(workload->shape, *store).wrong;
  EXPECT_TRUE(wrong.starts_with(GetParam().rule)) << wrong;
}

INSTANTIATE_TEST_SUITE_P(, VerifyDamage, testing::ValuesIn(kDamages),
                         [](const auto& test) { return test.param.name; });

TEST(Verify, TheEndOfEveryWorkloadIsSoundAndReadsAsTheModelSays) {
  for (const Workload& workload : workloads()) {
    const Surroundings around;
    Actor actor{workload.shape, 3, around};
    workload.run(actor);
    const Allowed now = actor.allowed_now();
    const auto opinion = second_opinion(workload.shape, actor.disk().now());
    EXPECT_EQ(opinion.wrong, "") << workload.name;
    EXPECT_EQ(now.check(opinion.contents), "") << workload.name;
  }
}

}  // namespace
}  // namespace openvhd::test
