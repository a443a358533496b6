/// One durability step less, or one made wrong: does anybody notice (RELIABILITY T03)?
///
/// Mutants live between the engine and its file, or its source of GUIDs, or sit on what a crash
/// left; the library that is tested is the one that is shipped.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "crash/explore.hpp"

namespace openvhd::test {

struct Mutant {
  enum class Kind : std::uint8_t {
    drop_sync,        ///< Syncs of `what` return at once.
    late_sync,        ///< They happen after the next command that changes something.
    plain_write,      ///< Durable writes of `what` are not.
    one_header,       ///< Both header copies are in one place.
    no_checksum,      ///< Headers or log entries are written with a checksum of 0.
    unread_checksum,  ///< Readers take headers or log entries whatever their checksum says.
    same_guid,        ///< FileWriteGuid, DataWriteGuid or LogGuid is that of all other sessions.
    flushed_too_far,  ///< FlushedFileOffset says more than was flushed.
  };
  Kind kind{};
  std::string what;
  /// Why no crash can show it; empty where one must.
  std::string harmless;

  std::string name() const;
};

/// Every step that the workloads take, once for each way to take it away. Runs them all once.
std::vector<Mutant> all_mutants();

struct MutantResult {
  bool noticed = false;
  std::uint64_t states = 0;
  std::string failure;  ///< The state that gave it away.
};

/// Explores workloads that take this step, `states` in all, until one shows the difference.
MutantResult try_mutant(const Mutant& mutant, std::uint64_t states);

}  // namespace openvhd::test
