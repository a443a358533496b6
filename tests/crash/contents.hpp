/// What a disk holds, as runs of sectors that each say which write they came from, and what it may
/// hold: promises D2, D4 and D5 of RELIABILITY (e).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace openvhd::test {

/// Ids of what is in a sector. Everything above kParent names one write.
inline constexpr std::uint64_t kZeroId = 0;
inline constexpr std::uint64_t kParentId = 1;
/// No content that any write, the parent or zeros would give.
inline constexpr std::uint64_t kForeignId = ~std::uint64_t{0};

/// Fills whole sectors from `first` on with what write `id` puts there.
void stamp(std::span<std::byte> into, std::uint32_t sector_bytes, std::uint64_t first,
           std::uint64_t id);
/// The id of one whole sector.
std::uint64_t stamp_of(std::span<const std::byte> bytes, std::uint64_t sector);

/// Sectors [first, first + count) hold one id.
struct IdRun {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  std::uint64_t id = 0;
  friend bool operator==(const IdRun&, const IdRun&) = default;
};

/// A whole disk, from its start on, neighbours with one id joined.
class Contents {
 public:
  void add(std::uint64_t count, std::uint64_t id);
  void add_sectors(std::span<const std::byte> bytes, std::uint32_t sector_bytes);
  void put(const IdRun& run);
  std::uint64_t sectors() const {
    return runs_.empty() ? 0 : runs_.back().first + runs_.back().count;
  }
  const std::vector<IdRun>& runs() const { return runs_; }
  std::uint64_t at(std::uint64_t sector) const;
  friend bool operator==(const Contents&, const Contents&) = default;
  /// Where two of them differ, as text; empty when they do not.
  std::string difference(const Contents& other) const;

 private:
  std::vector<IdRun> runs_;
};

/// Something that was asked of a disk, in ticks of the simulated power supply.
struct Change {
  std::uint64_t id = 0;
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  std::uint64_t begun = 0;                    ///< No command of it has an earlier tick.
  std::uint64_t durable = ~std::uint64_t{0};  ///< A flush that covers it was over by then.
};

/// What each sector may hold when power was lost.
class Allowed {
 public:
  explicit Allowed(const Contents& before);
  /// The change may have happened, or not.
  void may(const Change& change);
  /// It has.
  void must(const Change& change);
  /// Empty, or the first sector that holds something else.
  std::string check(const Contents& contents) const;

 private:
  struct Part {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    std::vector<std::uint64_t> ids;
  };
  template <class F>
  void each(const Change& change, F apply);
  std::vector<Part> parts_;
};

}  // namespace openvhd::test
