/// What a disk must read as: plain bytes, and what a crash may leave of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

namespace openvhd::test {

/// A flat disk, sparse in memory. It also remembers every content that a logical sector had since
/// the last flush: after a crash each of them is right (RELIABILITY D4).
class FlatModel {
 public:
  FlatModel(std::uint64_t size, std::uint32_t sector_bytes) : size_{size}, sector_{sector_bytes} {}

  std::uint64_t size() const { return size_; }
  std::uint32_t sector_bytes() const { return sector_; }

  void write(std::uint64_t at, std::span<const std::byte> from);
  void zero(std::uint64_t at, std::uint64_t length);
  void flushed();
  /// Whether `got` is what [at, at + got.size()) holds; the first byte that differs otherwise.
  bool matches(std::uint64_t at, std::span<const std::byte> got, std::uint64_t& differs) const;

  /// For each sector that changed since the last flush, where its earlier contents are kept:
  /// these are where a crash leaves a choice.
  std::map<std::uint64_t, std::vector<std::size_t>> unflushed_sectors() const;
  /// Takes what a sector reads as after a crash. False: it never held that. `versions` is what
  /// unflushed_sectors() has for it.
  bool settle(std::uint64_t sector, const std::vector<std::size_t>& versions,
              std::span<const std::byte> got);

  static constexpr std::uint64_t kPage = 65536;
  /// Pages that ever held something, for reading back whole disks that are mostly empty.
  std::vector<std::uint64_t> touched_pages() const;

 private:
  using Page = std::array<std::byte, kPage>;
  /// A run of sectors as it was, in `old_`.
  struct Change {
    std::uint64_t at = 0;
    std::uint64_t length = 0;
    std::size_t old = 0;
  };

  std::byte* page(std::uint64_t index);
  void remember(std::uint64_t at, std::uint64_t length);
  void copy_out(std::uint64_t at, std::span<std::byte> into) const;

  std::uint64_t size_;
  std::uint32_t sector_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Page>> pages_;
  std::vector<Change> changes_;
  std::vector<std::byte> old_;
};

}  // namespace openvhd::test
