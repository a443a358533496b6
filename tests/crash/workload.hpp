/// Work on one image, recorded command by command, with what each flush promised.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "crash/contents.hpp"
#include "crash/session.hpp"
#include "support/fixed_host.hpp"
#include "support/sim_file.hpp"

namespace openvhd::test {

/// What may stand between an engine and its file, and around it; for faults and for mutants.
struct Surroundings {
  /// Around the file of each open; `phase` tells which commands these will be.
  enum class Phase : std::uint8_t { create, run, recover };
  std::function<std::unique_ptr<File>(std::unique_ptr<File>, Phase phase)> wrap;
  /// In place of a FixedHost; the number tells which open of the image this is, creation is 0.
  std::function<std::unique_ptr<Host>(std::uint64_t open)> host;
  /// Told of the disk before its first command.
  std::function<void(SimDisk&)> disk;

  std::unique_ptr<File> file(std::unique_ptr<File> below, Phase phase) const {
    return wrap ? wrap(std::move(below), phase) : std::move(below);
  }
  std::unique_ptr<Host> make_host(std::uint64_t open, std::uint64_t seed) const {
    if (host) return host(open);
    return std::make_unique<FixedHost>(seed * 1000 + 2 * open + 1);
  }
};

/// What an image said of itself when a session began (X19).
struct OpenedIds {
  std::uint64_t at = 0;        ///< Ticks.
  std::uint64_t first_id = 0;  ///< Of the writes of this session.
  verify::Image::Id file_write_id{};
  verify::Image::Id data_write_id{};
};

/// What a script of a workload works with. Calls that fail are noted, not reported: whoever runs
/// the workload asks for `trouble()`.
class Actor {
 public:
  Actor(const Shape& shape, std::uint64_t seed, const Surroundings& around);
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;
  ~Actor();

  const Shape& shape() const { return shape_; }
  std::uint64_t random(std::uint64_t below) {
    used_random_ = true;
    return random_() % below;
  }
  /// Another seed gives another run.
  bool used_random() const { return used_random_; }
  /// Commands were in flight beside each other.
  bool used_together() const { return used_together_; }

  // In sectors; what leaves the disk is cut off.
  void write(std::uint64_t first, std::uint64_t count);
  void zero(std::uint64_t first, std::uint64_t count);
  void trim(std::uint64_t first, std::uint64_t count);
  void trim_block(std::uint64_t block);
  void flush();
  /// Closes, and opens again.
  void reopen();
  /// The process dies; the machine does not. Opens again.
  void kill();
  /// Closes for good.
  void close();
  /// Closes, changes bytes of the file as other software might have, and opens again.
  void tamper(std::uint64_t at, std::span<const std::byte> bytes);
  /// States are looked at from here on; without it, from the end of the creation.
  void begin() { from_tick_ = now(); }

  struct Side {
    enum class Kind : std::uint8_t { write, zero, trim, flush } kind{};
    std::uint64_t first = 0;
    std::uint64_t count = 0;
  };
  /// All at once, completing in any order and in parts. Ranges do not overlap.
  void together(const std::vector<Side>& sides);

  /// A call that failed.
  struct Failure {
    std::string call;
    Error error{};
    std::uint64_t at = 0;  ///< Ticks.
  };
  const std::vector<Failure>& failures() const { return failures_; }
  /// Empty when every call succeeded, else the first that did not.
  std::string trouble() const;
  bool is_open() const { return session_ != nullptr; }

  const SimDisk& disk() const { return *disk_; }
  SimDisk& disk() { return *disk_; }
  std::uint64_t from_tick() const { return from_tick_; }
  const std::vector<Change>& changes() const { return changes_; }
  const Contents& blank() const { return blank_; }
  const std::vector<OpenedIds>& opens() const { return opens_; }
  /// What may be found when power is lost: what was durable by `durable`, what had begun by
  /// `begun`.
  Allowed allowed(std::uint64_t durable, std::uint64_t begun) const;
  Allowed allowed_now() const { return allowed(now(), now()); }
  Session* session() { return session_.get(); }

 private:
  std::uint64_t now() const { return disk_->power().now(); }
  void open();
  void clear(std::uint64_t first, std::uint64_t count, ClearKind kind);
  Change* start(std::uint64_t id, std::uint64_t first, std::uint64_t count);
  void note(const char* what, const Status& status, Change* change = nullptr);
  void all_durable(std::size_t changes);
  void all_uncertain();

  Shape shape_;
  std::uint64_t seed_;
  const Surroundings& around_;
  std::mt19937_64 random_;
  bool used_random_ = false;
  bool used_together_ = false;
  std::shared_ptr<SimDisk> disk_;
  Contents blank_;
  std::vector<std::unique_ptr<Host>> hosts_;  // sessions keep on asking theirs
  std::unique_ptr<Session> session_;
  std::vector<OpenedIds> opens_;
  std::vector<Change> changes_;
  std::vector<bool> failed_;  // changes that no flush makes certain
  std::uint64_t next_id_ = kParentId + 1;
  std::uint64_t from_tick_ = 0;
  std::vector<Failure> failures_;
};

struct Workload {
  const char* name;
  Shape shape;
  void (*run)(Actor&);
};

/// All of them. A new one is a line here, and a script where none does yet.
std::span<const Workload> workloads();
const Workload* find_workload(const std::string& name);

}  // namespace openvhd::test
