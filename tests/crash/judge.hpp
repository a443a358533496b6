/// Whether what a crash left is what was promised: read by the checker and by the engine, replayed,
/// written to, read again (RELIABILITY T01).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "crash/workload.hpp"

namespace openvhd::test {

struct JudgeOptions {
  const Surroundings* around = nullptr;  ///< Of the recovery; borrowed, may be null.
  std::uint64_t seed = 0;                ///< Where to write, how to end, where to crash again.
  unsigned nested = 0;                   ///< Crashes within the recovery to look at.
  bool nested_fault = false;             ///< Commands that fail within the recovery, too.
};

struct Judgement {
  std::string wrong;         ///< Empty: all promises hold.
  std::uint64_t nested = 0;  ///< States within the recovery that were judged.
};

/// `state` stays as it is.
Judgement judge_state(const Shape& shape, const MemoryStore& state, const Allowed& allowed,
                      const JudgeOptions& options);

}  // namespace openvhd::test
