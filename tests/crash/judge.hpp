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
  std::vector<OpenedIds> opens{};        ///< The sessions before the crash.
  unsigned nested = 0;                   ///< Crashes within the recovery to look at.
  bool faults = false;  ///< In their place: every command of the recovery fails, in three ways.
};

struct Judgement {
  std::string wrong;         ///< Empty: all promises hold.
  std::uint64_t nested = 0;  ///< Crashes or failures within the recovery that were judged.
};

/// `state` stays as it is.
Judgement judge_state(const Shape& shape, const MemoryStore& state, const Allowed& allowed,
                      const JudgeOptions& options);

}  // namespace openvhd::test
