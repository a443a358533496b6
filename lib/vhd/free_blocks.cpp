#include "vhd/free_blocks.hpp"

#include <algorithm>

namespace openvhd::vhd {

void FreeBlocks::snapshot(std::uint64_t round) noexcept {
  for (Waiting& block : waiting_) {
    if (block.round == 0) block.round = round;
  }
}

std::vector<std::uint32_t> FreeBlocks::ripen(std::uint64_t oldest_operation) {
  // Rounds and serials only grow along the list: what is ripe is a prefix of it.
  const auto end = std::ranges::find_if(waiting_, [&](const Waiting& block) {
    return block.round == 0 || block.round > finished_round_ || block.serial >= oldest_operation;
  });
  std::vector<std::uint32_t> ripe;
  for (auto block = waiting_.begin(); block != end; ++block) ripe.push_back(block->start);
  waiting_.erase(waiting_.begin(), end);
  return ripe;
}

std::uint32_t FreeBlocks::take(std::uint64_t oldest_operation) {
  if (usable_.empty()) {
    for (const std::uint32_t start : ripen(oldest_operation)) unused(start);
  }
  if (usable_.empty()) return kNone;
  Run& run = usable_.back();
  const std::uint32_t start = run.first;
  run.first += run.stride;
  if (--run.count == 0) usable_.pop_back();
  return start;
}

}  // namespace openvhd::vhd
