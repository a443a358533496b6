#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "firmware/elf_boot.hpp"
#include "hypervisor/firmware/elf_file.hpp"

namespace openvhd::vmm {
namespace {

class ElfBootTest : public testing::Test {
 protected:
  Result<LinuxEntry> load(const std::string& line = "a=b") {
    return load_elf(
        memory, {.kernel = kernel, .initrd = initrd, .command_line = line, .rsdp = kDirectTables});
  }
  std::uint64_t word(std::uint64_t at) { return openvhd::load<Le64>(memory.low().subspan(at)); }
  std::string refusal(const std::function<void(std::vector<std::byte>&)>& change) {
    kernel = test::elf_kernel();
    change(kernel);
    const auto loaded = load();
    return loaded ? "" : loaded.error().what;
  }

  GuestMemory memory = *GuestMemory::create({.bytes = 32 << 20});
  std::vector<std::byte> kernel = test::elf_kernel();
  std::vector<std::byte> initrd = std::vector<std::byte>(5000, std::byte{0x77});
};

TEST_F(ElfBootTest, SegmentsInitrdAndStartInfoAreInPlace) {
  ASSERT_TRUE(is_elf(kernel));
  const auto entry = load();
  ASSERT_TRUE(entry) << entry.error().what;
  EXPECT_EQ(entry->entry.value, 0x100'0004U);
  EXPECT_EQ(memory.low()[0x100'000f], std::byte{0x90});
  EXPECT_EQ(memory.low()[0x100'0010], std::byte{0});
  const std::uint64_t info = entry->ebx;
  EXPECT_EQ(word(info), 0x1'336e'c578U) << "magic and version";
  EXPECT_EQ(word(info + 8) >> 32, 1U) << "one module";
  const auto module = word(info + 16);
  EXPECT_EQ(word(module + 8), 5000U);
  EXPECT_EQ(memory.low()[word(module) + 4999], std::byte{0x77});
  EXPECT_EQ(memory.low()[word(info + 24)], std::byte{'a'});
  EXPECT_EQ(word(info + 32), kDirectTables.value);
  const auto map = word(info + 40);
  EXPECT_EQ(word(map), 0U);
  EXPECT_EQ(word(map + 16) & 0xffff'ffff, 1U) << "RAM";
  EXPECT_EQ(word(info + 48) & 0xffff'ffff, 3U);
}

TEST_F(ElfBootTest, WhatIsNoKernelOrDoesNotFitIsRefused) {
  using File = std::vector<std::byte>;
  EXPECT_NE(refusal([](File& f) { f[4] = std::byte{1}; }), "") << "32 bits";
  EXPECT_NE(refusal([](File& f) { f[18] = std::byte{40}; }), "") << "another processor";
  EXPECT_NE(refusal([](File& f) { f[56] = std::byte{0}; }), "") << "no segments";
  EXPECT_NE(refusal([](File& f) { f[57] = std::byte{2}; }), "") << "more than the file holds";
  EXPECT_NE(refusal([](File& f) { f[39] = std::byte{0xff}; }), "") << "a table beyond the file";
  EXPECT_NE(refusal([](File& f) { f[64 + 15] = std::byte{0xff}; }), "") << "a segment beyond it";
  EXPECT_NE(refusal([](File& f) { f[64 + 40] = std::byte{1}; }), "") << "less memory than file";
  EXPECT_NE(refusal([](File& f) { f[64 + 27] = std::byte{2}; }), "") << "beyond memory";
  EXPECT_NE(refusal([](File& f) { f[64 + 31] = std::byte{0xff}; }), "") << "it wraps";
  EXPECT_NE(refusal([](File& f) { f[64 + 27] = std::byte{0}; }), "") << "where the map lies";
  EXPECT_NE(refusal([](File& f) { f[0x1a0] = std::byte{17}; }), "") << "no PVH entry";
  EXPECT_NE(refusal([](File& f) { f[0x183] = std::byte{0xff}; }), "") << "a note that never ends";
  EXPECT_NE(refusal([](File& f) { f.resize(40); }), "");
  kernel = test::elf_kernel();
  EXPECT_FALSE(load(std::string(70'000, 'x')));
  initrd.resize(20 << 20);
  EXPECT_FALSE(load()) << "16 MiB are left";
}

}  // namespace
}  // namespace openvhd::vmm
