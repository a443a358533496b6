#include "support/page_set.hpp"

#include <algorithm>
#include <iterator>

namespace openvhd::test {

std::uint64_t PageSet::missing(std::uint64_t first, std::uint64_t end) const {
  if (first >= end) return 0;
  std::uint64_t present = 0;
  auto run = runs_.upper_bound(first);
  if (run != runs_.begin()) --run;
  for (; run != runs_.end() && run->first < end; ++run) {
    const std::uint64_t from = std::max(first, run->first);
    const std::uint64_t to = std::min(end, run->second);
    if (from < to) present += to - from;
  }
  return end - first - present;
}

void PageSet::add(std::uint64_t first, std::uint64_t end) {
  if (first >= end) return;
  count_ += missing(first, end);
  auto run = runs_.upper_bound(first);
  if (run != runs_.begin() && std::prev(run)->second >= first) {
    --run;
    first = run->first;
  }
  while (run != runs_.end() && run->first <= end) {
    end = std::max(end, run->second);
    run = runs_.erase(run);
  }
  runs_.emplace(first, end);
}

void PageSet::remove(std::uint64_t first, std::uint64_t end) {
  if (first >= end) return;
  count_ -= end - first - missing(first, end);
  auto run = runs_.upper_bound(first);
  if (run != runs_.begin()) --run;
  while (run != runs_.end() && run->first < end) {
    const auto [from, to] = *run;
    if (to <= first) {
      ++run;
      continue;
    }
    run = runs_.erase(run);
    if (from < first) runs_.emplace(from, first);
    if (to > end) runs_.emplace(end, to);
  }
}

}  // namespace openvhd::test
