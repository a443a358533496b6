#include "vhdx/log_format.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/crc32c.hpp"

namespace openvhd::vhdx {
namespace {

constexpr Guid kLog = guid_of(0x01020304, 0x0506, 0x0708, 0x090a, 0x0b0c0d0e0f10);

std::vector<std::byte> counted_sector(unsigned start) {
  std::vector<std::byte> out(kLogSectorBytes);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(start + i);
  return out;
}

std::vector<std::byte> encoded(const LogEntrySpec& spec) {
  std::vector<std::byte> out(log_entry_bytes(spec.writes.size(), spec.zeros.size()),
                             std::byte{0xee});
  build_log_entry(spec, out);
  return out;
}

std::uint64_t le(const std::vector<std::byte>& bytes, std::size_t at, unsigned count) {
  std::uint64_t out = 0;
  while (count-- > 0) out = out << 8 | std::to_integer<std::uint64_t>(bytes[at + count]);
  return out;
}

TEST(VhdxLayout, GuidsAreStoredWithThreeSwappedGroups) {
  const StoredGuid stored{kLog};
  std::vector<std::byte> bytes(16);
  store(std::span<std::byte>{bytes}, stored);
  const std::vector<int> expected{4, 3, 2, 1, 6, 5, 8, 7, 9, 10, 11, 12, 13, 14, 15, 16};
  for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(std::to_integer<int>(bytes[i]), expected[i]);
  EXPECT_EQ(stored.value(), kLog);
  EXPECT_EQ(to_string(kBatRegion), "2dc27766-f623-4200-9d64-115e9bfd4a08");
}

TEST(VhdxLogFormat, DescriptorSectorsGrowAfter126AndThenEvery128) {
  EXPECT_EQ(descriptor_sectors(0), 1u);
  EXPECT_EQ(descriptor_sectors(126), 1u);
  EXPECT_EQ(descriptor_sectors(127), 2u);
  EXPECT_EQ(descriptor_sectors(254), 2u);
  EXPECT_EQ(descriptor_sectors(255), 3u);
  EXPECT_EQ(descriptor_sectors(~std::uint32_t{0}), 33554433u);
}

// Offsets counted by hand from [MS-VHDX] 2.3.1, not from the structs.
TEST(VhdxLogFormat, EntryHasItsFieldsWhereTheSpecificationPutsThem) {
  const auto sector = counted_sector(3);
  const LogWrite write{{0x300000}, sector.data()};
  const LogZero zero{{0x500000}, 0x8000};
  const auto bytes = encoded({.log_guid = kLog,
                              .sequence = 0x1122334455667788,
                              .tail = 0x3000,
                              .flushed_file_bytes = 0x800000,
                              .last_file_bytes = 0x900000,
                              .writes = {&write, 1},
                              .zeros = {&zero, 1}});
  ASSERT_EQ(bytes.size(), 8192u);
  EXPECT_EQ(le(bytes, 0, 4), 0x65676f6cu);  // "loge"
  EXPECT_EQ(le(bytes, 4, 4), crc32c_without(bytes, 4));
  EXPECT_EQ(le(bytes, 8, 4), 8192u);
  EXPECT_EQ(le(bytes, 12, 4), 0x3000u);
  EXPECT_EQ(le(bytes, 16, 8), 0x1122334455667788u);
  EXPECT_EQ(le(bytes, 24, 4), 2u);
  EXPECT_EQ(le(bytes, 28, 4), 0u);
  EXPECT_EQ(le(bytes, 32, 4), 0x01020304u);
  EXPECT_EQ(le(bytes, 48, 8), 0x800000u);
  EXPECT_EQ(le(bytes, 56, 8), 0x900000u);
  // Data descriptor: signature, trailing 4, leading 8, file offset, sequence.
  EXPECT_EQ(le(bytes, 64, 4), 0x63736564u);  // "desc"
  EXPECT_EQ(le(bytes, 68, 4), le(sector, 4092, 4));
  EXPECT_EQ(le(bytes, 72, 8), le(sector, 0, 8));
  EXPECT_EQ(le(bytes, 80, 8), 0x300000u);
  EXPECT_EQ(le(bytes, 88, 8), 0x1122334455667788u);
  // Zero descriptor: signature, reserved 4, length, file offset, sequence.
  EXPECT_EQ(le(bytes, 96, 4), 0x6f72657au);  // "zero"
  EXPECT_EQ(le(bytes, 100, 4), 0u);
  EXPECT_EQ(le(bytes, 104, 8), 0x8000u);
  EXPECT_EQ(le(bytes, 112, 8), 0x500000u);
  EXPECT_EQ(le(bytes, 120, 8), 0x1122334455667788u);
  EXPECT_TRUE(std::all_of(bytes.begin() + 128, bytes.begin() + 4096,
                          [](std::byte b) { return b == std::byte{0}; }));
  // Data sector: signature, high half, 4084 bytes, low half.
  EXPECT_EQ(le(bytes, 4096, 4), 0x61746164u);  // "data"
  EXPECT_EQ(le(bytes, 4100, 4), 0x11223344u);
  EXPECT_TRUE(std::equal(sector.begin() + 8, sector.end() - 4, bytes.begin() + 4104));
  EXPECT_EQ(le(bytes, 8188, 4), 0x55667788u);
}

TEST(VhdxLogFormat, WhatIsBuiltIsRead) {
  std::vector<std::vector<std::byte>> sectors;
  std::vector<LogWrite> writes;
  for (unsigned i = 0; i < 151; ++i) {
    sectors.push_back(counted_sector(i));
    writes.push_back({{0x100000 + i * 8192}, sectors.back().data()});
  }
  const auto bytes = encoded({.log_guid = kLog, .sequence = 9, .writes = writes, .zeros = {}});
  ASSERT_EQ(bytes.size(), (2 + 151) * 4096u);
  const std::span<const std::byte> view{bytes};
  EXPECT_TRUE(check_entry_header(load<LogEntryHeader>(view), kMiB, {}));
  std::vector<std::byte> restored(kLogSectorBytes);
  for (unsigned i = 0; i < 151; ++i) {
    const auto descriptor = parse_descriptor(view.subspan((i + 2) * 32), 9, {});
    ASSERT_TRUE(descriptor) << descriptor.error().what;
    EXPECT_EQ(descriptor->at, writes[i].at);
    const auto sector = view.subspan((2 + i) * 4096, 4096);
    ASSERT_TRUE(check_data_sector(sector, 9, {}));
    restore_sector(*descriptor, sector, restored);
    EXPECT_EQ(restored, sectors[i]);
  }
}

TEST(VhdxLogFormat, EntryHeadersThatBreakARuleAreRejected) {
  const auto check = [](auto change) {
    LogEntryHeader header;
    header.signature = kLogEntrySignature;
    header.entry_length = 8192;
    header.sequence_number = 1;
    header.descriptor_count = 1;
    change(header);
    return bool{check_entry_header(header, kMiB, {})};
  };
  EXPECT_TRUE(check([](LogEntryHeader&) {}));
  EXPECT_TRUE(check([](LogEntryHeader& h) { h.descriptor_count = 0; }));
  EXPECT_FALSE(check([](LogEntryHeader& h) { h.signature = 0; }));
  EXPECT_FALSE(check([](LogEntryHeader& h) { h.entry_length = 0; }));
  EXPECT_FALSE(check([](LogEntryHeader& h) { h.entry_length = 8193; }));
  EXPECT_FALSE(check([](LogEntryHeader& h) { h.entry_length = 0x101000; }));
  EXPECT_FALSE(check([](LogEntryHeader& h) { h.tail = 512; }));
  EXPECT_FALSE(check([](LogEntryHeader& h) { h.tail = 0x100000; }));
  EXPECT_FALSE(check([](LogEntryHeader& h) { h.sequence_number = 0; }));
  EXPECT_FALSE(check([](LogEntryHeader& h) { h.descriptor_count = 255; }));
  EXPECT_FALSE(check([](LogEntryHeader& h) { h.descriptor_count = ~std::uint32_t{0}; }));
}

TEST(VhdxLogFormat, DescriptorsThatBreakARuleAreRejected) {
  const auto check = [](std::uint32_t signature, std::uint64_t length, std::uint64_t at) {
    ZeroDescriptor zero;
    zero.signature = signature;
    zero.zero_length = length;
    zero.file_offset = at;
    zero.sequence_number = 5;
    std::vector<std::byte> bytes(32);
    store(std::span<std::byte>{bytes}, zero);
    return bool{parse_descriptor(bytes, 5, {})} && !parse_descriptor(bytes, 6, {});
  };
  EXPECT_TRUE(check(kZeroSignature, 4096, 0x300000));
  EXPECT_TRUE(check(kDataDescriptorSignature, 1, 0x300000));  // its own bytes, no length
  EXPECT_FALSE(check(kZeroSignature, 4095, 0x300000));
  EXPECT_FALSE(check(kZeroSignature, 4096, 0x300200));
  EXPECT_FALSE(check(kZeroSignature, ~std::uint64_t{4095}, 0x300000));
  EXPECT_FALSE(check(kDataDescriptorSignature, 0, ~std::uint64_t{4095}));
  EXPECT_FALSE(check(0, 4096, 0x300000));
}

TEST(VhdxLogFormat, TornDataSectorsAreSeenByEitherHalf) {
  const auto sector = counted_sector(0);
  const LogWrite write{{0x300000}, sector.data()};
  auto bytes =
      encoded({.log_guid = kLog, .sequence = 0x100000002, .writes = {&write, 1}, .zeros = {}});
  const std::span<const std::byte> data{bytes.data() + 4096, 4096};
  EXPECT_TRUE(check_data_sector(data, 0x100000002, {}));
  EXPECT_FALSE(check_data_sector(data, 0x100000003, {}));
  EXPECT_FALSE(check_data_sector(data, 0x200000002, {}));
}

}  // namespace
}  // namespace openvhd::vhdx
