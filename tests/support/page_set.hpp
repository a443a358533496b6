/// Which pages of a simulated file have space: a set of page numbers, kept as runs.
#pragma once

#include <cstdint>
#include <map>

namespace openvhd::test {

class PageSet {
 public:
  /// How many pages of [first, end) are not in the set.
  std::uint64_t missing(std::uint64_t first, std::uint64_t end) const;
  void add(std::uint64_t first, std::uint64_t end);
  void remove(std::uint64_t first, std::uint64_t end);
  std::uint64_t count() const { return count_; }

 private:
  std::map<std::uint64_t, std::uint64_t> runs_;  // first -> end; disjoint, not touching
  std::uint64_t count_ = 0;
};

}  // namespace openvhd::test
