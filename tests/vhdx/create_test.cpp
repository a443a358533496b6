// What create() makes: read back by the reader of this library, and byte by byte.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/bytes.hpp"
#include "support/fixed_host.hpp"
#include "vhdx/load_support.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

using vhdx::CreateSpec;

CreateSpec dynamic_spec() {
  return {.type = DiskType::dynamic,
          .geometry = {.virtual_size = 3 * kGiB + 512,
                       .logical_sector_size = 512,
                       .physical_sector_size = 4096,
                       .block_size = 32 * kMiB},
          .log_bytes = kMiB};
}

Status create_in(MemoryFile& file, const CreateSpec& spec) {
  FixedHost host;
  return vhdx::create(file, spec, host);
}

std::uint64_t le(MemoryFile& file, std::uint64_t at, unsigned width) {
  std::uint64_t out = 0;
  const auto bytes = read_at(file, at, width);
  while (width-- > 0) out = out << 8 | std::to_integer<std::uint64_t>(bytes[width]);
  return out;
}

TEST(VhdxCreate, DynamicImageIsReadBackAsAsked) {
  MemoryFile file;
  CreateSpec spec = dynamic_spec();
  spec.identifier = parse_guid("00112233-4455-6677-8899-aabbccddeeff");
  ASSERT_TRUE(create_in(file, spec));
  const auto loaded = load(file.store());
  ASSERT_TRUE(loaded) << loaded.error().what;
  const auto& image = loaded->image;
  EXPECT_EQ(image.type(), DiskType::dynamic);
  EXPECT_EQ(image.geometry.virtual_size, 3 * kGiB + 512);
  EXPECT_EQ(image.geometry.block_size, 32 * kMiB);
  EXPECT_EQ(image.geometry.logical_sector_size, 512u);
  EXPECT_EQ(image.geometry.physical_sector_size, 4096u);
  EXPECT_EQ(image.page83_id, *spec.identifier);
  EXPECT_EQ(image.creator, "OpenVHD");
  EXPECT_TRUE(image.notes.empty());
  EXPECT_TRUE(image.other_header_valid);
  EXPECT_TRUE(image.other_region_table_valid);
  EXPECT_FALSE(image.header.file_write_guid.value().is_nil());
  EXPECT_FALSE(image.header.data_write_guid.value().is_nil());
  EXPECT_TRUE(image.header.log_guid.value().is_nil());
  EXPECT_EQ(*file.size(), 4 * kMiB);
}

TEST(VhdxCreate, RequiredFlagsAreSet) {
  MemoryFile file;
  ASSERT_TRUE(create_in(file, dynamic_spec()));
  for (const std::uint64_t table : {192 * kKiB, 256 * kKiB}) {
    EXPECT_EQ(le(file, table + 8, 4), 2u);
    EXPECT_EQ(le(file, table + 16 + 28, 4), 1u);
    EXPECT_EQ(le(file, table + 48 + 28, 4), 1u);
  }
  const std::uint64_t metadata = 2 * kMiB;
  EXPECT_EQ(le(file, metadata + 10, 2), 5u);
  EXPECT_EQ(le(file, metadata + 32 + 24, 4), 4u);  // file parameters: of the file
  for (unsigned item = 1; item < 5; ++item) {
    EXPECT_EQ(le(file, metadata + 32 + 32 * item + 24, 4), 6u) << item;  // of the disk
  }
}

TEST(VhdxCreate, FixedIsLaidOutWholeAndInOrder) {
  MemoryFile file;
  CreateSpec spec = dynamic_spec();
  spec.type = DiskType::fixed;
  // Into a second chunk: 4 GiB and one sector more, in blocks of 256 MiB.
  spec.geometry.virtual_size = 4 * kGiB + 512;
  spec.geometry.block_size = 256 * kMiB;
  ASSERT_TRUE(create_in(file, spec));
  EXPECT_EQ(*file.size(), 4 * kMiB + 17 * 256 * kMiB);
  EXPECT_GE(file.allocated_bytes(), 17 * 256 * kMiB);
  const auto loaded = load(file.store());
  ASSERT_TRUE(loaded) << loaded.error().what;
  EXPECT_EQ(loaded->image.type(), DiskType::fixed);
  EXPECT_EQ(loaded->image.counts.entries, 18u);
  for (std::uint64_t n = 0; n < 16; ++n) {
    EXPECT_EQ(le(file, 3 * kMiB + 8 * n, 8), (4 * kMiB + n * 256 * kMiB) | 6) << n;
  }
  EXPECT_EQ(le(file, 3 * kMiB + 8 * 16, 8), 0u);  // the bitmap entry
  EXPECT_EQ(le(file, 3 * kMiB + 8 * 17, 8), (4 * kMiB + 16 * 256 * kMiB) | 6);
  EXPECT_EQ(le(file, 3 * kMiB + 8 * 18, 8), 0u);
}

TEST(VhdxCreate, WrittenExtentsAreWritten) {
  CreateSpec spec = dynamic_spec();
  spec.type = DiskType::fixed;
  spec.geometry.virtual_size = 3 * kMiB;
  spec.geometry.block_size = kMiB;
  MemoryFile reserved;
  ASSERT_TRUE(create_in(reserved, spec));
  EXPECT_EQ(reserved.executed(IoCommand::Kind::reserve), 1u);
  spec.written_extents = true;
  MemoryFile written;
  ASSERT_TRUE(create_in(written, spec));
  EXPECT_EQ(written.executed(IoCommand::Kind::reserve), 0u);
  EXPECT_EQ(written.executed(IoCommand::Kind::write),
            reserved.executed(IoCommand::Kind::write) + 3);
}

TEST(VhdxCreate, DifferencingNamesItsParent) {
  MemoryFile file;
  CreateSpec spec = dynamic_spec();
  spec.type = DiskType::differencing;
  spec.parent_linkage = *parse_guid("00112233-4455-6677-8899-aabbccddeeff");
  spec.parent_relative = ".\\base \xc3\xa9.vhdx";
  spec.parent_absolute = "C:\\disks\\base.vhdx";
  ASSERT_TRUE(create_in(file, spec));
  const auto loaded = load(file.store());
  ASSERT_TRUE(loaded) << loaded.error().what;
  ASSERT_TRUE(loaded->image.parent);
  const ParentLink& link = *loaded->image.parent;
  EXPECT_EQ(link.linkage, spec.parent_linkage);
  EXPECT_FALSE(link.linkage2);
  ASSERT_EQ(link.paths.size(), 2u);
  EXPECT_EQ(link.paths[0].kind, ParentPath::Kind::relative);
  EXPECT_EQ(link.paths[0].text, spec.parent_relative);
  EXPECT_EQ(link.paths[1].kind, ParentPath::Kind::absolute);
  EXPECT_EQ(link.paths[1].text, spec.parent_absolute);
  EXPECT_EQ(loaded->image.counts.entries, 129u);  // whole chunks, bitmap entries included
}

TEST(VhdxCreate, TheLargestDiskCostsAlmostNothing) {
  MemoryFile file;
  CreateSpec spec = dynamic_spec();
  spec.geometry.virtual_size = 64 * kTiB;
  spec.geometry.block_size = kMiB;
  ASSERT_TRUE(create_in(file, spec));
  EXPECT_LT(file.allocated_bytes(), 2 * kMiB);
  const auto loaded = load(file.store());
  ASSERT_TRUE(loaded) << loaded.error().what;
  EXPECT_EQ(loaded->image.counts.payload_blocks, std::uint64_t{1} << 26);
  EXPECT_EQ(loaded->image.bat.length, 513 * kMiB);
}

TEST(VhdxCreate, TheLogIsWrittenBeforehandAndItsSizeIsAsAsked) {
  MemoryFile file;
  CreateSpec spec = dynamic_spec();
  spec.log_bytes = 5 * kMiB;
  ASSERT_TRUE(create_in(file, spec));
  EXPECT_EQ(load(file.store())->image.log.length, 5 * kMiB);
  EXPECT_GE(file.allocated_bytes(), 5 * kMiB);
  EXPECT_EQ(file.executed(IoCommand::Kind::sync), 1u);
}

TEST(VhdxCreate, WhatTheFormatForbidsIsInvalid) {
  const auto refused = [](void (*change)(CreateSpec&)) {
    CreateSpec spec = dynamic_spec();
    change(spec);
    MemoryFile file;
    const Status made = create_in(file, spec);
    return !made && made.error().code == Errc::invalid && *file.size() == 0;
  };
  EXPECT_FALSE(refused([](CreateSpec&) {}));
  EXPECT_TRUE(refused([](CreateSpec& s) { s.geometry.virtual_size = 0; }));
  EXPECT_TRUE(refused([](CreateSpec& s) { s.geometry.virtual_size = 513; }));
  EXPECT_TRUE(refused([](CreateSpec& s) { s.geometry.virtual_size = 64 * kTiB + 512; }));
  EXPECT_TRUE(refused([](CreateSpec& s) { s.geometry.block_size = 3 * kMiB; }));
  EXPECT_TRUE(refused([](CreateSpec& s) { s.geometry.block_size = 512 * kMiB; }));
  EXPECT_TRUE(refused([](CreateSpec& s) { s.geometry.block_size = 512 * kKiB; }));
  EXPECT_TRUE(refused([](CreateSpec& s) { s.geometry.logical_sector_size = 1024; }));
  EXPECT_TRUE(refused([](CreateSpec& s) { s.geometry.logical_sector_size = 4096; }));
  EXPECT_TRUE(refused([](CreateSpec& s) { s.geometry.physical_sector_size = 0; }));
  EXPECT_TRUE(refused([](CreateSpec& s) { s.log_bytes = 4096; }));
  EXPECT_TRUE(refused([](CreateSpec& s) { s.log_bytes = 257 * kMiB; }));
  EXPECT_TRUE(refused([](CreateSpec& s) { s.type = DiskType::differencing; }));
  EXPECT_TRUE(refused([](CreateSpec& s) {
    s.type = DiskType::differencing;
    s.parent_relative = "p.vhdx";
  }));
}

TEST(VhdxCreate, AFullHostIsToldAsSuch) {
  const auto store = std::make_shared<MemoryStore>();
  store->capacity = 64 * kMiB;
  MemoryFile file{store};
  CreateSpec spec = dynamic_spec();
  spec.type = DiskType::fixed;
  const Status made = create_in(file, spec);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::no_space);
}

}  // namespace
}  // namespace openvhd::test
