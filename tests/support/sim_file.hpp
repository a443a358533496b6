/// A file whose every operation is recorded, and which can fail, be cut short, and lose power.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <openvhd/error.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "io/file.hpp"
#include "support/memory_file.hpp"

namespace openvhd::test {

/// The one clock and the one supply of all files of a test: each command takes a tick.
class SimPower {
 public:
  static constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

  /// Commands so far, over all files.
  std::uint64_t now() const { return now_; }
  /// The commands of these ticks still run, all later ones fail with EIO and change nothing.
  void cut_at(std::uint64_t tick) { off_at_ = tick; }
  bool is_off() const { return now_ >= off_at_; }
  std::uint64_t tick() { return now_++; }

 private:
  std::uint64_t now_ = 0;
  std::uint64_t off_at_ = kNever;
};

/// What goes wrong: the `nth` command from now that matches (0: the next) fails.
struct SimFault {
  std::optional<IoCommand::Kind> kind{};  ///< Empty: any.
  std::uint64_t nth = 0;
  int error = 5;        ///< EIO.
  bool sticky = false;  ///< All matching commands after it fail too.
};

/// The medium: what several opens of one file share.
class SimDisk {
 public:
  /// A command that ran, in the order in which they ran.
  struct Op {
    std::uint64_t tick = 0;
    IoCommand::Kind kind{};
    bool durable = false;
    std::uint64_t at = 0;
    std::uint64_t length = 0;
    std::vector<std::byte> bytes{};  ///< Of a write; as many as were taken.
    std::uint64_t size_before = 0;   ///< Of the file.
    std::int32_t result = 0;
    /// The tick of the command with which it got to stable storage: its own for a durable write,
    /// that of the next sync for others; kNever when a sync that covered it failed, because the
    /// host may have forgotten it then (RELIABILITY e.2).
    std::uint64_t stable_at = SimPower::kNever;
  };

  /// An empty file.
  explicit SimDisk(std::shared_ptr<SimPower> power = std::make_shared<SimPower>())
      : SimDisk{MemoryStore{}, std::move(power)} {}
  /// A file with these contents, all of it on stable storage.
  explicit SimDisk(const MemoryStore& contents,
                   std::shared_ptr<SimPower> power = std::make_shared<SimPower>())
      : power_{std::move(power)}, initial_{contents}, now_{contents} {}

  std::int32_t execute(const IoCommand& command);

  void fail(const SimFault& fault) { faults_.push_back(fault); }
  void clear_faults() { faults_.clear(); }
  /// From now on transfers of more than a sector often stop early.
  void shorten_transfers(std::uint64_t seed) { shorten_.emplace(seed); }

  SimPower& power() { return *power_; }
  const MemoryStore& initial() const { return initial_; }
  /// What the running system sees.
  MemoryStore& now() { return now_; }
  const std::vector<Op>& ops() const { return ops_; }

 private:
  std::int32_t injected(const IoCommand& command);
  std::int32_t read(const IoCommand& command);
  std::int32_t write(const IoCommand& command, Op& op);
  std::size_t shortened(std::size_t length);
  void settle(std::uint64_t tick, bool synced);

  std::shared_ptr<SimPower> power_;
  MemoryStore initial_;
  MemoryStore now_;
  std::vector<Op> ops_;
  std::size_t first_unsettled_ = 0;
  std::vector<SimFault> faults_;
  std::optional<std::mt19937_64> shorten_;
};

/// An open of a SimDisk.
class SimFile : public File {
 public:
  explicit SimFile(std::shared_ptr<SimDisk> disk, bool writable = true)
      : disk_{std::move(disk)}, writable_{writable} {}

  std::int32_t execute(const IoCommand& command) noexcept override;
  Result<std::uint64_t> size() noexcept override;
  std::uint64_t allocated_bytes() noexcept override { return disk_->now().allocated_bytes(); }
  Result<FileRange> next_data(FileOffset at, FileOffset end) noexcept override;
  FileIdentity identity() const noexcept override { return disk_->now().identity; }
  const std::string& name() const noexcept override { return name_; }
  bool writable() const noexcept override { return writable_; }

  SimDisk& disk() { return *disk_; }

 private:
  std::shared_ptr<SimDisk> disk_;
  std::string name_ = "simulated";
  bool writable_;
};

}  // namespace openvhd::test
