/// All the states in which a crash of a workload may leave its image, as many as a budget allows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "crash/workload.hpp"

namespace openvhd::test {

struct ExploreOptions {
  std::uint64_t states = 2500;  ///< To look at, those within recoveries included.
  std::uint64_t seed = 1;
  const Surroundings* run = nullptr;      ///< Of the workload; borrowed, may be null.
  const Surroundings* recover = nullptr;  ///< Of what comes after the crash.
  std::uint64_t nested_every = 8;  ///< One state in so many is crashed again while it recovers.
  /// What mutants do to a state before anybody reads it; may be empty.
  std::function<void(MemoryStore&)> tamper{};
};

struct ExploreResult {
  std::uint64_t states = 0;
  std::uint64_t nested = 0;  ///< Of them, crashes within a recovery.
  std::uint64_t cuts = 0;
  std::uint64_t exhausted = 0;  ///< Cuts of which every state was looked at.
  bool all = false;             ///< There are no more states than these.
  std::string failure;          ///< Empty, or the name of a state and what is wrong with it.
};

ExploreResult explore(const Workload& workload, const ExploreOptions& options);

/// Judges one state by its name, as a failure has it: "WORKLOAD/SEED/UNIT[s]/CUT/ATOMS".
/// Empty: nothing is wrong with it.
std::string replay_state(const std::string& name, const ExploreOptions& options);

/// Names of states, spread over the cuts of a workload.
std::vector<std::string> sample_names(const Workload& workload, std::size_t count);

/// Writes that state to a host file, for other readers; false when there is none of that name.
/// With `contents` also what the checker of this directory reads, as a raw file.
bool export_state(const std::string& name, const std::string& path,
                  const std::string& contents = {});

}  // namespace openvhd::test
