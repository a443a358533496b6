#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/stored.hpp"
#include "firmware/acpi_tables.hpp"
#include "firmware/aml.hpp"
#include "firmware/linux_boot.hpp"
#include "firmware/smbios.hpp"

namespace openvhd::vmm {
namespace {

using Bytes = std::span<const std::byte>;

unsigned sum(Bytes bytes) {
  unsigned total = 0;
  for (const auto byte : bytes) total += std::to_integer<unsigned>(byte);
  return total & 0xff;
}
std::string text(Bytes bytes, std::size_t length) {
  std::string out;
  for (const auto byte : bytes.first(length)) out += static_cast<char>(byte);
  return out;
}
std::vector<std::byte> bytes(std::initializer_list<unsigned> list) {
  std::vector<std::byte> out;
  for (const unsigned byte : list) out.push_back(static_cast<std::byte>(byte));
  return out;
}

constexpr AcpiMachine kMachine{.processors = 3,
                               .pm_base = 0x600,
                               .gpe_base = 0xafe0,
                               .sci_line = 9,
                               .pci_memory = 0xc000'0000};

class PlacedTables : public testing::Test {
 protected:
  PlacedTables() {
    for (std::size_t i = 0; i < GuestMemory::kShadowSegments; ++i)
      memory.set_shadow(i, {.read_ram = true, .write_ram = true});
    EXPECT_TRUE(AcpiTables{kMachine}.place(memory, kDirectTables));
  }
  Bytes at(std::uint64_t address, std::size_t length) {
    return memory.low().subspan(address, length);
  }
  Bytes table(std::uint64_t address) { return at(address, load<Le32>(at(address + 4, 4))); }

  GuestMemory memory = *GuestMemory::create({.bytes = kMinMemory});
};

TEST_F(PlacedTables, EveryTableIsReachedAndItsSumIsZero) {
  const auto rsdp = at(kDirectTables.value, 36);
  EXPECT_EQ(text(rsdp, 8), "RSD PTR ");
  EXPECT_EQ(sum(rsdp.first(20)), 0U);
  EXPECT_EQ(sum(rsdp), 0U);
  std::map<std::string, std::uint64_t> found;
  const auto xsdt = table(load<Le64>(rsdp.subspan(24)));
  EXPECT_EQ(sum(xsdt), 0U);
  for (std::size_t i = 36; i < xsdt.size(); i += 8) {
    const std::uint64_t where = load<Le64>(xsdt.subspan(i));
    EXPECT_EQ(sum(table(where)), 0U);
    found[text(table(where), 4)] = where;
  }
  EXPECT_EQ(found.size(), 3U);
  const auto fadt = table(found.at("FACP"));
  EXPECT_EQ(load<Le32>(fadt.subspan(56)), 0x600U);
  EXPECT_EQ(load<Le32>(fadt.subspan(76)), 0x608U);
  const auto dsdt = table(load<Le32>(fadt.subspan(40)));
  EXPECT_EQ(text(dsdt, 4), "DSDT");
  EXPECT_EQ(sum(dsdt), 0U);
  EXPECT_EQ(text(at(load<Le32>(fadt.subspan(36)), 64), 4), "FACS");
  const auto madt = table(found.at("APIC"));
  unsigned processors = 0;
  for (std::size_t i = 44; i < madt.size(); i += std::to_integer<std::size_t>(madt[i + 1]))
    if (madt[i] == std::byte{0}) ++processors;
  EXPECT_EQ(processors, 3U);
}

TEST(AcpiTables, TheLoaderScriptDoesWhatPlaceDoes) {
  const AcpiTables acpi{kMachine};
  std::map<std::string, std::vector<std::byte>> files{{"etc/acpi/tables", acpi.tables()},
                                                      {"etc/acpi/rsdp", acpi.rsdp()}};
  const std::map<std::string, std::uint64_t> bases{{"etc/acpi/tables", kDirectTables.value + 64},
                                                   {"etc/acpi/rsdp", kDirectTables.value}};
  const auto script = acpi.loader_script();
  ASSERT_EQ(script.size() % 128, 0U);
  const auto name = [](Bytes entry, std::size_t from) {
    const auto all = text(entry.subspan(from), 56);
    return all.substr(0, all.find('\0'));
  };
  for (std::size_t i = 0; i < script.size(); i += 128) {
    const auto entry = Bytes{script}.subspan(i, 128);
    auto& file = files.at(name(entry, 4));
    const std::uint32_t command = load<Le32>(entry);
    if (command == 2) {
      const std::uint32_t offset = load<Le32>(entry.subspan(116));
      std::uint64_t value = 0;
      const auto width = std::to_integer<std::size_t>(entry[120]);
      std::memcpy(&value, &file.at(offset), width);
      value += bases.at(name(entry, 60));
      std::memcpy(&file.at(offset), &value, width);
    } else if (command == 3) {
      const std::uint32_t result = load<Le32>(entry.subspan(60));
      const auto range =
          Bytes{file}.subspan(load<Le32>(entry.subspan(64)), load<Le32>(entry.subspan(68)));
      file.at(result) = {};
      file.at(result) = static_cast<std::byte>(0x100 - sum(range));
    }
  }
  auto memory = *GuestMemory::create({.bytes = kMinMemory});
  for (std::size_t i = 0; i < GuestMemory::kShadowSegments; ++i)
    memory.set_shadow(i, {.read_ram = true, .write_ram = true});
  ASSERT_TRUE(acpi.place(memory, kDirectTables));
  for (const auto& [file, content] : files) {
    std::vector<std::byte> placed(content.size());
    ASSERT_TRUE(memory.read({bases.at(file)}, placed));
    EXPECT_EQ(placed, content) << file;
  }
}

TEST(Aml, NumbersNamesAndLengthsAreEncoded) {
  EXPECT_EQ(aml::integer(0), bytes({0}));
  EXPECT_EQ(aml::integer(0x40), bytes({0x0a, 0x40}));
  EXPECT_EQ(aml::integer(0x1234), bytes({0x0b, 0x34, 0x12}));
  EXPECT_EQ(aml::eisa_id("PNP0A03"), bytes({0x0c, 0x41, 0xd0, 0x0a, 0x03}));
  EXPECT_EQ(aml::io_ports(0x3f8, 8), bytes({0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8}));
  EXPECT_EQ(aml::scope("ABCD", {}), bytes({0x10, 5, 'A', 'B', 'C', 'D'}));
  const auto large = aml::scope("ABCD", {aml::text(std::string(100, 'x'))});
  // 2 bytes of length, 4 of name, 102 of text: 108 in total.
  EXPECT_EQ(large[1], std::byte{0x40 | (108 & 15)});
  EXPECT_EQ(large[2], std::byte{108 >> 4});
}

TEST(Smbios, StructuresEndWhereTheAnchorSays) {
  const auto smbios = make_smbios({.memory_bytes = 1 << 30, .processors = 2, .name = "a b"});
  const std::uint16_t length = load<Le16>(Bytes{smbios.anchor}.subspan(22));
  EXPECT_EQ(length, smbios.tables.size());
  const std::uint16_t count = load<Le16>(Bytes{smbios.anchor}.subspan(28));
  unsigned seen = 0;
  std::size_t at = 0;
  unsigned last = 0;
  while (at < smbios.tables.size()) {
    last = std::to_integer<unsigned>(smbios.tables[at]);
    at += std::to_integer<std::size_t>(smbios.tables[at + 1]);
    while (smbios.tables.at(at) != std::byte{} || smbios.tables.at(at + 1) != std::byte{}) ++at;
    at += 2;
    ++seen;
  }
  EXPECT_EQ(seen, count);
  EXPECT_EQ(last, 127U);
  EXPECT_NE(text(smbios.tables, smbios.tables.size()).find("a_b"), std::string::npos);
}

class LinuxBootTest : public testing::Test {
 protected:
  LinuxBootTest() : kernel(4096 + 1024) {
    put(0x1f1, 1, 1);
    put(0x1fe, 0xaa55, 2);
    put(0x201, 0x66, 1);
    put(0x202, 0x53726448, 4);
    put(0x206, 0x20f, 2);
    put(0x211, 1, 1);
    put(0x22c, 0x7fff'ffff, 4);
    put(0x238, 2047, 4);
    put(0x258, 0x10'0000, 8);
    put(0x260, 0x10'0000, 4);
    kernel[1024] = std::byte{0x77};  // the first byte behind the set-up
  }
  void put(std::size_t at, std::uint64_t value, std::size_t width) {
    for (std::size_t i = 0; i < width; ++i) kernel[at + i] = static_cast<std::byte>(value >> 8 * i);
  }
  Result<LinuxEntry> load(std::size_t initrd_bytes = 0, const std::string& words = "quiet") {
    initrd.assign(initrd_bytes, std::byte{0x5d});
    return load_linux(
        memory, {.kernel = kernel, .initrd = initrd, .command_line = words, .rsdp = kDirectTables});
  }
  std::uint64_t at(std::uint64_t address, std::size_t width) {
    std::uint64_t value = 0;
    std::memcpy(&value, &memory.low()[address], width);
    return value;
  }
  std::vector<std::byte> kernel, initrd;
  GuestMemory memory = *GuestMemory::create({.bytes = kMinMemory});
};

TEST_F(LinuxBootTest, TheZeroPageSaysWhereThingsAre) {
  const auto entry = load(5000);
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->entry.value, 0x10'0000U);
  EXPECT_EQ(at(0x10'0000, 1), 0x77U);
  const std::uint64_t page = entry->esi;
  EXPECT_EQ(at(page + 0x202, 4), 0x53726448U);
  EXPECT_EQ(at(page + 0x70, 8), kDirectTables.value);
  const auto initrd_at = at(page + 0x218, 4);
  EXPECT_EQ(at(page + 0x21c, 4), 5000U);
  EXPECT_EQ(initrd_at % 4096, 0U);
  EXPECT_GE(initrd_at, 0x20'0000U) << "where the kernel unpacks itself";
  EXPECT_EQ(at(initrd_at + 4999, 1), 0x5dU);
  EXPECT_EQ(at(at(page + 0x228, 4), 6), 0x74'6569'7571U) << "quiet, and its end";
  EXPECT_EQ(at(page + 0x1e8, 1), 3U);
  EXPECT_EQ(at(page + 0x2d0 + 40 + 8, 8), kMinMemory - 0x10'0000);
}

TEST_F(LinuxBootTest, WhatIsNoKernelIsRefused) {
  put(0x202, 0, 4);
  EXPECT_EQ(load().error().code, Errc::unsupported);
  put(0x202, 0x53726448, 4);
  put(0x206, 0x200, 2);
  EXPECT_EQ(load().error().code, Errc::unsupported);
  put(0x206, 0x20f, 2);
  put(0x1f1, 200, 1);
  EXPECT_EQ(load().error().code, Errc::unsupported) << "ends in its set-up";
  kernel.resize(100);
  EXPECT_EQ(load().error().code, Errc::unsupported);
}

TEST_F(LinuxBootTest, WhatDoesNotFitIsRefused) {
  EXPECT_EQ(load((2 << 20) + 1).error().code, Errc::out_of_range);
  EXPECT_EQ(load(0, std::string(2048, 'x')).error().code, Errc::out_of_range);
  put(0x258, ~0ULL - 10, 8);
  EXPECT_EQ(load(4096).error().code, Errc::out_of_range);
}

}  // namespace
}  // namespace openvhd::vmm
