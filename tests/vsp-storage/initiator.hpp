/// An initiator with a disk of 1 MiB at unit 0 and a disc at unit 3.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <string>

#include "memory_backend.hpp"
#include "scsi_cd.hpp"
#include "scsi_disk.hpp"
#include "scsi_target.hpp"

namespace openvhd::scsi::test {

using Bytes = std::vector<std::uint8_t>;

inline ScsiIdentity identity() {
  ScsiIdentity who{.serial = "SERIAL01"};
  who.naa[0] = 0x60;
  return who;
}

class ScsiTest : public testing::Test {
 protected:
  static constexpr std::size_t kBytes = 1 << 20;

  explicit ScsiTest(const DiskShape& shape = {.bytes = kBytes,
                                              .physical_block = 4096,
                                              .allocation_unit = 65536,
                                              .writable = true,
                                              .thin = true}) {
    auto unit = std::make_unique<ScsiDisk>(identity(), shape);
    disk = unit.get();
    EXPECT_TRUE(target.attach(0, std::move(unit)));
    EXPECT_TRUE(target.attach(3, std::make_unique<ScsiCd>(identity(), disc.bytes.size() + 100)));
    port.connect(0, backend);
    port.connect(3, disc);
    for (std::size_t i = 0; i < kBytes; ++i)
      backend.bytes[i] = static_cast<std::byte>(i / 512 + i % 7);
    for (std::size_t i = 0; i < disc.bytes.size(); ++i)
      disc.bytes[i] = static_cast<std::byte>(i / 2048 + i % 5);
  }

  /// Runs a command; what it answers is in `request` and the returned bytes.
  Bytes run(std::initializer_list<unsigned> cdb, std::size_t room = 0, const Bytes& sends = {},
            std::uint16_t lun = 0) {
    begin(cdb, room, sends, lun);
    backend.run();
    disc.run();
    EXPECT_EQ(ends, 1U);
    return {in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(
                                           std::min<std::uint64_t>(request.moved, room))};
  }
  void begin(std::initializer_list<unsigned> cdb, std::size_t room, const Bytes& sends,
             std::uint16_t lun = 0) {
    request.cdb = {};
    std::copy(cdb.begin(), cdb.end(), request.cdb.begin());
    request.lun = lun;
    request.done = ended;
    in_.assign(room, 0xee);
    out_ = sends;
    in_list_ = cut(in_);
    out_list_ = cut(out_);
    request.in = in_list_;
    request.out = out_list_;
    ends = 0;
    port.execute(request);
  }
  Sense sense() const {
    EXPECT_EQ(request.status, ScsiStatus::check_condition);
    EXPECT_EQ(request.sense_bytes, 18U);
    EXPECT_EQ(request.sense[0], 0x70);
    return {request.sense[2], request.sense[12], request.sense[13]};
  }
  bool good() const { return request.status == ScsiStatus::good && !request.overrun; }
  std::span<const std::byte> at_block(std::size_t block, std::size_t count = 1,
                                      std::size_t size = 512) const {
    return std::span{backend.bytes}.subspan(block * size, count * size);
  }
  static std::uint64_t number(const Bytes& bytes, std::size_t at, std::size_t width) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < width; ++i) value = value << 8 | bytes.at(at + i);
    return value;
  }

  MemoryBackend backend{kBytes};
  MemoryBackend disc{64 * 2048};
  ScsiTarget target;
  ScsiPort port{target};
  ScsiDisk* disk = nullptr;
  static inline unsigned ends = 0;
  ScsiRequest request;
  Bytes in_, out_;

 private:
  static void ended(ScsiRequest&) noexcept { ++ends; }
  // In pieces of 700 bytes, as pages of a guest that begin anywhere.
  static std::vector<iovec> cut(Bytes& bytes) {
    std::vector<iovec> list;
    for (std::size_t at = 0; at < bytes.size(); at += 700)
      list.push_back({bytes.data() + at, std::min<std::size_t>(700, bytes.size() - at)});
    return list;
  }
  std::vector<iovec> in_list_, out_list_;
};

inline bool same(std::span<const std::uint8_t> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace openvhd::scsi::test
