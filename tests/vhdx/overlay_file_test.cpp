#include "vhdx/overlay_file.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <random>

#include "support/bytes.hpp"
#include "vhdx/image_builder.hpp"

namespace openvhd::test {
namespace {

using vhdx::OverlayFile;
constexpr std::uint64_t kSector = OverlayFile::kSectorBytes;

/// A MemoryFile that has a descriptor to give.
class DescribedFile : public MemoryFile {
 public:
  using MemoryFile::MemoryFile;
  int async_descriptor(const IoCommand&) const noexcept override { return 42; }
};

IoCommand read_command(std::uint64_t at, std::uint64_t length) {
  return {.kind = IoCommand::Kind::read, .at = {at}, .length = length};
}

TEST(OverlayFile, RandomChangesReadAsInAModel) {
  std::mt19937_64 random{7};
  for (unsigned round = 0; round < 50; ++round) {
    auto model = pattern(16 * kSector + 100, round);
    MemoryFile base{model};
    OverlayFile overlay{base};
    const auto sectors = pattern(64 * kSector, 1000 + round);
    for (unsigned change = 0; change < 20; ++change) {
      const std::uint64_t at = random() % 24 * kSector;
      const std::uint64_t length = (random() % 2 == 0 ? 1 : random() % 5) * kSector;
      const bool data = random() % 2 == 0;
      const std::uint64_t reach = at + (data ? kSector : length);
      if ((data || length != 0) && model.size() < reach) model.resize(reach);
      if (data) {
        const std::byte* bytes = sectors.data() + random() % 64 * kSector;
        overlay.replace({at}, bytes);
        std::copy_n(bytes, kSector, model.begin() + std::ptrdiff_t(at));
      } else {
        overlay.zero_out({at}, length);
        std::fill_n(model.begin() + std::ptrdiff_t(at), length, std::byte{0});
      }
    }
    ASSERT_EQ(read_all(overlay), model) << round;
    for (unsigned n = 0; n < 50; ++n) {
      const std::uint64_t at = random() % model.size();
      const std::size_t length = random() % (model.size() - at + 1);
      const auto got = read_at(overlay, at, length);
      ASSERT_TRUE(std::equal(got.begin(), got.end(), model.begin() + std::ptrdiff_t(at)));
    }
    // next_data never skips a byte that is not zero.
    for (std::uint64_t at = 0; at < model.size();) {
      const auto run = overlay.next_data({at}, {model.size()});
      ASSERT_TRUE(run);
      const std::uint64_t until = run->length == 0 ? model.size() : run->at.value;
      for (; at < until; ++at) ASSERT_EQ(model[at], std::byte{0}) << at;
      at += run->length;
    }
  }
}

TEST(OverlayFile, ScatteredBuffersAreFilledInOrder) {
  MemoryFile base{filled(3 * kSector, 1)};
  OverlayFile overlay{base};
  const auto two = sector_of(2);
  overlay.replace({kSector}, two.data());
  overlay.extend(5 * kSector);
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
  OverlayFile overlay{base};
  overlay.zero_out({0}, kSector);
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
  OverlayFile overlay{base};
  const auto two = sector_of(2);
  overlay.replace({2 * kSector}, two.data());
  overlay.zero_out({4 * kSector}, kSector);
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
  overlay.extend(9 * kSector);
  EXPECT_EQ(overlay.async_descriptor(read_command(5 * kSector, 4 * kSector)), -1);
}

TEST(OverlayFile, RangesAtTheTopDoNotOverflow) {
  MemoryFile base{filled(kSector, 1)};
  OverlayFile overlay{base};
  EXPECT_EQ(overlay.execute(read_command(~std::uint64_t{0}, 2)), -EINVAL);
  EXPECT_EQ(overlay.async_descriptor(read_command(~std::uint64_t{0}, 2)), -1);
}

}  // namespace
}  // namespace openvhd::test
