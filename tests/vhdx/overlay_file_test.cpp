#include "vhdx/overlay_file.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <random>

#include "support/bytes.hpp"
#include "vhdx/image_builder.hpp"

namespace openvhd::test {
namespace {

using vhdx::LogChanges;
using vhdx::OverlayFile;
constexpr std::uint64_t kSector = 4096;

/// Adds a data descriptor for `bytes`, whose data sector becomes the one at `data_at` of `file`.
void replace(LogChanges& changes, std::uint64_t at, std::span<const std::byte> bytes,
             std::span<std::byte> file, std::uint64_t data_at) {
  vhdx::LogDescriptor descriptor{.is_data = true, .at = {at}, .length = kSector};
  std::ranges::copy(bytes.first(8), descriptor.leading.begin());
  std::ranges::copy(bytes.last(4), descriptor.trailing.begin());
  const auto data = file.subspan(data_at, kSector);
  std::ranges::copy(bytes, data.begin());
  std::ranges::fill(data.first(8), std::byte{0x11});
  std::ranges::fill(data.last(4), std::byte{0x22});
  changes.replace(descriptor, {data_at});
  changes.fill({at}, {data_at}, data);
}

std::shared_ptr<const LogChanges> settled(LogChanges changes) {
  changes.settle();
  return std::make_shared<const LogChanges>(std::move(changes));
}

/// A MemoryFile that has a descriptor to give.
class DescribedFile : public MemoryFile {
 public:
  using MemoryFile::MemoryFile;
  int async_descriptor(const IoCommand&) const noexcept override { return 42; }
};

IoCommand read_command(std::uint64_t at, std::uint64_t length) {
  return {.kind = IoCommand::Kind::read, .at = {at}, .length = length};
}

void expect_model(File& file, const std::vector<std::byte>& model, std::mt19937_64& random) {
  ASSERT_EQ(read_all(file), model);
  for (unsigned n = 0; n < 50; ++n) {
    const std::uint64_t at = random() % model.size();
    const std::size_t length = random() % (model.size() - at + 1);
    const auto got = read_at(file, at, length);
    ASSERT_TRUE(std::equal(got.begin(), got.end(), model.begin() + std::ptrdiff_t(at)));
  }
  // next_data never skips a byte that is not zero.
  for (std::uint64_t at = 0; at < model.size();) {
    const auto run = file.next_data({at}, {model.size()});
    ASSERT_TRUE(run);
    const std::uint64_t until = run->length == 0 ? model.size() : run->at.value;
    for (; at < until; ++at) ASSERT_EQ(model[at], std::byte{0}) << at;
    at += run->length;
  }
}

// The log fills the first 20 sectors of the file.
void random_changes(std::size_t kept, unsigned seed) {
  constexpr unsigned kLog = 20;
  std::mt19937_64 random{seed};
  auto base_bytes = pattern((kLog + 16) * kSector + 100, seed);
  LogChanges changes{kept};
  std::vector<std::pair<std::uint64_t, std::vector<std::byte>>> order;
  for (unsigned change = 0; change < kLog; ++change) {
    const std::uint64_t at = (kLog + random() % 24) * kSector;
    if (random() % 2 == 0) {
      const auto bytes = pattern(kSector, random());
      replace(changes, at, bytes, base_bytes, change * kSector);
      order.emplace_back(at, bytes);
    } else {
      const std::uint64_t length = random() % 5 * kSector;
      changes.zero({at}, length);
      if (length != 0) order.emplace_back(at, std::vector<std::byte>(length));
    }
  }
  auto model = base_bytes;
  for (const auto& [at, bytes] : order) {
    if (model.size() < at + bytes.size()) model.resize(at + bytes.size());
    std::ranges::copy(bytes, model.begin() + std::ptrdiff_t(at));
  }
  MemoryFile base{base_bytes};
  OverlayFile overlay{base, settled(std::move(changes)), 0};
  expect_model(overlay, model, random);
}

TEST(OverlayFile, RandomChangesReadAsInAModel) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    for (const std::size_t kept : {std::size_t{0}, std::size_t{3}, LogChanges::kKeptSectors}) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << ", kept " << kept);
      random_changes(kept, seed);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(OverlayFile, ASectorOfTheLogThatChangedIsNotRead) {
  auto bytes = pattern(4 * kSector, 1);
  const auto written = pattern(kSector, 2);
  LogChanges changes{0};
  replace(changes, 2 * kSector, written, bytes, 0);
  MemoryFile base{bytes};
  OverlayFile overlay{base, settled(std::move(changes)), 0};
  EXPECT_EQ(read_at(overlay, 2 * kSector, kSector), written);
  patch(base, 100, {0x77});
  std::vector<std::byte> into(kSector);
  const auto read = overlay.read_exact({2 * kSector}, into, "");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().sys_errno, EBADMSG);
  EXPECT_TRUE(overlay.read_exact({3 * kSector}, into, ""));
}

TEST(OverlayFile, WhatIsKeptOfTheLogIsNotReadAgain) {
  auto bytes = pattern(4 * kSector, 1);
  const auto written = pattern(kSector, 2);
  LogChanges changes;
  replace(changes, 2 * kSector, written, bytes, 0);
  MemoryFile base{bytes};
  OverlayFile overlay{base, settled(std::move(changes)), 0};
  patch(base, 100, {0x77});
  EXPECT_EQ(read_at(overlay, 2 * kSector, kSector), written);
}

TEST(OverlayFile, ScatteredBuffersAreFilledInOrder) {
  auto bytes = filled(3 * kSector, 1);
  std::vector<std::byte> log(kSector);
  LogChanges changes;
  replace(changes, kSector, sector_of(2), log, 0);
  MemoryFile base{bytes};
  OverlayFile overlay{base, settled(std::move(changes)), 5 * kSector};
  std::vector<std::byte> a(5000, std::byte{9});
  std::vector<std::byte> b(3000, std::byte{9});
  std::vector<std::byte> c(9000, std::byte{9});
  const std::array<iovec, 3> pieces{
      {{a.data(), a.size()}, {b.data(), b.size()}, {c.data(), c.size()}}};
  const IoCommand command{
      .kind = IoCommand::Kind::read, .at = {100}, .length = 17000, .buffers = pieces};
  ASSERT_EQ(overlay.execute(command), 17000);
  std::vector<std::byte> got = a;
  got.insert(got.end(), b.begin(), b.end());
  got.insert(got.end(), c.begin(), c.end());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const std::size_t sector = (i + 100) / kSector;
    ASSERT_EQ(std::to_integer<int>(got[i]), sector == 1 ? 2 : sector < 3 ? 1 : 0) << i;
  }
}

TEST(OverlayFile, NeverWrites) {
  MemoryFile base{filled(2 * kSector, 1)};
  LogChanges changes;
  changes.zero({0}, kSector);
  OverlayFile overlay{base, settled(std::move(changes)), 0};
  EXPECT_FALSE(overlay.writable());
  for (const auto kind : {IoCommand::Kind::write, IoCommand::Kind::zero, IoCommand::Kind::punch,
                          IoCommand::Kind::reserve, IoCommand::Kind::set_size}) {
    EXPECT_EQ(overlay.execute({.kind = kind, .at = {0}, .length = kSector}), -EROFS);
  }
  EXPECT_EQ(overlay.execute({.kind = IoCommand::Kind::sync}), 0);
  EXPECT_EQ(read_all(base), filled(2 * kSector, 1));
}

TEST(OverlayFile, GivesADescriptorOnlyForWhatItDoesNotChange) {
  DescribedFile base{filled(8 * kSector, 1)};
  LogChanges changes;
  std::vector<std::byte> log(kSector);
  replace(changes, 2 * kSector, sector_of(2), log, 0);
  changes.zero({4 * kSector}, kSector);
  const auto both = settled(std::move(changes));
  OverlayFile overlay{base, both, 0};
  EXPECT_EQ(overlay.async_descriptor(read_command(0, 2 * kSector)), 42);
  EXPECT_EQ(overlay.async_descriptor(read_command(0, 2 * kSector + 1)), -1);
  EXPECT_EQ(overlay.async_descriptor(read_command(3 * kSector - 1, 1)), -1);
  EXPECT_EQ(overlay.async_descriptor(read_command(3 * kSector, kSector)), 42);
  EXPECT_EQ(overlay.async_descriptor(read_command(4 * kSector + 7, 1)), -1);
  EXPECT_EQ(overlay.async_descriptor(read_command(5 * kSector, 3 * kSector)), 42);
  EXPECT_EQ(overlay.async_descriptor(read_command(5 * kSector, 0)), -1);
  EXPECT_EQ(overlay.async_descriptor({.kind = IoCommand::Kind::write, .at = {0}, .length = 1}), -1);
  // Past the old end this file has zeros, and the one below nothing.
  EXPECT_EQ(overlay.async_descriptor(read_command(5 * kSector, 4 * kSector)), 42);
  OverlayFile longer{base, both, 9 * kSector};
  EXPECT_EQ(longer.async_descriptor(read_command(5 * kSector, 4 * kSector)), -1);
}

TEST(OverlayFile, RangesAtTheTopDoNotOverflow) {
  MemoryFile base{filled(kSector, 1)};
  OverlayFile overlay{base, settled(LogChanges{}), 0};
  EXPECT_EQ(overlay.execute(read_command(~std::uint64_t{0}, 2)), -EINVAL);
  EXPECT_EQ(overlay.async_descriptor(read_command(~std::uint64_t{0}, 2)), -1);
}

}  // namespace
}  // namespace openvhd::test
