/// A driver that completes commands in any order and in parts: what io_uring may do, all of it.
#pragma once

#include <cstdint>
#include <openvhd/error.hpp>
#include <random>
#include <span>
#include <vector>

#include "io/file.hpp"
#include "io/io_command.hpp"

namespace openvhd::test {

/// Runs operations side by side on the same files until all have finished. Commands execute when
/// they are drawn from those in flight, at random; with `short_transfers`, reads and writes are
/// often cut short. The same seed gives the same run. A hang ends the test program.
class ShuffleDriver {
 public:
  ShuffleDriver(std::span<File* const> files, std::uint64_t seed, bool short_transfers)
      : files_{files.begin(), files.end()}, random_{seed}, short_transfers_{short_transfers} {}

  /// The outcomes, in the order of `operations`.
  std::vector<Status> run(std::span<Operation* const> operations);

  /// The most commands that were in flight at once.
  std::size_t most_in_flight() const { return most_in_flight_; }

 private:
  struct InFlight {
    Operation* operation;
    IoCommand command;
  };

  void gather(std::span<Operation* const> operations);
  void complete_one();
  std::int32_t execute(const IoCommand& command);

  std::vector<File*> files_;
  std::mt19937_64 random_;
  bool short_transfers_;
  std::vector<InFlight> in_flight_;
  std::size_t most_in_flight_ = 0;
};

}  // namespace openvhd::test
