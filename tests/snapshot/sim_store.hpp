/// A directory whose every step is recorded, in one order with what happens in its files, and
/// that can fail at any of them and lose power.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "io/image_store.hpp"
#include "support/crash_states.hpp"
#include "support/sim_file.hpp"

namespace openvhd::test {

/// Names of plain files in one directory. Locks are checked: a writer is alone.
class SimStore final : public ImageStore {
 public:
  static constexpr std::uint64_t kNever = SimPower::kNever;

  explicit SimStore(std::shared_ptr<SimPower> power = std::make_shared<SimPower>())
      : power_{std::move(power)} {}

  Result<std::unique_ptr<File>> open(const std::string& path, Lock lock) override;
  Result<std::unique_ptr<File>> open_to_change(const std::string& path) override;
  Status create(const std::string& path, const Fill& fill) override;
  Result<std::string> read_text(const std::string& path, std::size_t most) override;
  Status write_text(const std::string& path, const std::string& text) override;
  Status remove(const std::string& path) override;
  bool exists(const std::string& path) noexcept override { return names_.contains(path); }
  Result<std::vector<std::string>> list(const std::string& directory) override;

  /// The command, or the step, with this tick fails with `error` and changes nothing.
  void fail_at(std::uint64_t tick, int error) {
    fail_tick_ = tick;
    fail_error_ = error;
  }
  /// The same for all from this tick on that take space.
  void full_from(std::uint64_t tick) { full_from_ = tick; }

  SimPower& power() { return *power_; }
  /// Where a cut is worth a look.
  std::vector<std::uint64_t> cuts() const;
  /// The directory as it may be found when power was lost before `tick`: of what was not synced
  /// everything, nothing, or a part that `seed` chooses is there.
  enum class Survivors : std::uint8_t { all, none, some };
  std::shared_ptr<SimStore> after_cut(std::uint64_t tick, Survivors survivors,
                                      std::uint64_t seed) const;
  /// As it is now, all on stable storage, with nothing recorded.
  std::shared_ptr<SimStore> copy() const;

  /// A new file with these contents.
  void put(const std::string& path, const MemoryStore& contents);

 private:
  friend class SimStoreFile;
  using Entry = std::variant<std::shared_ptr<SimDisk>, std::string>;  // an image, or a text
  using Names = std::map<std::string, Entry>;
  struct Step {
    std::uint64_t tick = 0;
    Names before;
  };

  /// What an injected failure makes of the command or step that is next; 0: it runs.
  int injected(bool takes_space) const;
  /// Begins a step that changes names. Errors: io.
  Status step();

  std::shared_ptr<SimPower> power_;
  Names names_;
  std::vector<Step> steps_;
  std::map<std::uint64_t, std::pair<int, int>> locks_;  // readers and writers, by inode
  std::uint64_t next_inode_ = 1;
  std::uint64_t fail_tick_ = kNever;
  std::uint64_t full_from_ = kNever;
  int fail_error_ = 0;
};

}  // namespace openvhd::test
