/// What may be found on a disk after power was lost: everything that was synced, and any part of
/// what was not (RELIABILITY T01).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "support/sim_file.hpp"

namespace openvhd::test {

struct CrashOptions {
  /// Writes survive or not in pieces that end at multiples of this: 4096, or 512 for torn pages.
  std::uint64_t unit = 4096;
  /// A write past the end whose size survived but not its bytes shows other people's bytes, as
  /// file systems that do not order data have it, instead of zeros.
  bool stale_extension = false;
  /// From here on in the file pieces are at least `payload_unit` long: a logical sector of 4096
  /// bytes is whole on a device that says so (RELIABILITY D4), whatever `unit` is elsewhere.
  std::uint64_t payload_from = ~std::uint64_t{0};
  std::uint64_t payload_unit = 512;
  /// The command of the tick itself was on its way: it survives in parts, a durable write too.
  bool in_flight = false;
};

/// The states of one disk when power was lost before `tick`. Atoms are what survives or is lost
/// by itself: a piece of a write, the growth of the file by a write, a change of size, a zeroed,
/// punched or reserved range. Those that were stable by then always survive; the others are
/// optional. They apply in the order in which they ran.
///
/// Borrows the disk's record: the disk must not run on while this is used.
class CrashPoint {
 public:
  static constexpr std::byte kStale{0xdb};

  CrashPoint(const SimDisk& disk, std::uint64_t tick, const CrashOptions& options = {});

  std::size_t optional_atoms() const { return optional_; }
  /// True when a write past the end may survive without its bytes.
  bool can_be_stale() const;
  /// The disk with those optional atoms for which `keep` says so; as many as there are.
  std::shared_ptr<MemoryStore> state(const std::vector<bool>& keep) const;

 private:
  struct Atom {
    enum class Kind : std::uint8_t { data, grow, resize, zero, punch, reserve };
    Kind kind{};
    bool optional = false;
    std::uint64_t at = 0;
    std::uint64_t length = 0;
    std::span<const std::byte> bytes{};
  };

  void add(const Atom& atom);
  void add_op(const SimDisk::Op& op, bool stable);
  void apply(MemoryStore& store, const Atom& atom) const;

  CrashOptions options_;
  MemoryStore base_;         // with all atoms before the first optional one
  std::vector<Atom> atoms_;  // from the first optional one
  std::size_t optional_ = 0;
};

/// The ticks at which a cut is worth a look: after each command of the disk that changed or
/// settled something, and before the first.
std::vector<std::uint64_t> crash_ticks(const SimDisk& disk);

/// When to cut so that no state is missed and few come twice: power fails while a sync, a durable
/// write or nothing at all is on its way; every earlier state is one of these with less kept.
struct CrashCut {
  std::uint64_t tick = 0;
  bool in_flight = false;
};
std::vector<CrashCut> crash_cuts(const SimDisk& disk, std::uint64_t from_tick);

/// Which of `atoms` survive, at most `budget` different choices: all of them where they fit;
/// else everything and nothing, prefixes, all but one, one alone, runs that are lost, all but
/// two, and random ones, each kind spread evenly over what budget is left.
std::vector<std::vector<bool>> choose_survivors(std::size_t atoms, std::size_t budget,
                                                std::uint64_t seed);

}  // namespace openvhd::test
