/// A disk whose every sector says which write it came from, so that after a crash each of them
/// can be judged: promises D2, D4, D5 and D6.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vhd/disk.hpp"
#include "vhd/recording_file.hpp"

namespace openvhd::test {

class History {
 public:
  /// `base` is the file as it is before; `parent` may be null, its disk reads as
  /// sector_of(kParent).
  History(const Store& base, Store parent);

  /// Opens the leaf on a file that records; `fault` as in RecordingFile.
  void open(std::function<std::int32_t(const IoCommand&, std::uint64_t)> fault = {});
  Status write(std::uint64_t sector, std::uint64_t count);
  Status clear(std::uint64_t sector, std::uint64_t count, ClearKind kind);
  Status flush();
  Status close();

  const std::vector<RecordedOp>& log() const { return log_; }
  const MemoryStore& before() const { return before_; }
  const Store& now() const { return now_; }
  RecordingFile& file() { return *file_; }
  Disk& disk() { return *disk_; }

  /// Opens `state` and judges it as what is left after the first `end` commands of the log:
  /// as it is, then after a few writes and a close. An empty text: all is well.
  std::string judge(const Store& state, std::size_t end) const;

  static constexpr std::uint64_t kZero = 0;
  static constexpr std::uint64_t kParent = 1;
  /// What a sector holds after write number `id`: kZero reads as zeros.
  static std::vector<std::byte> sector_of(std::uint64_t id, std::uint64_t sector);

 private:
  struct Event {
    std::uint64_t id = 0;
    std::uint64_t sector = 0;
    std::uint64_t count = 0;
    bool failed = false;
    std::size_t begin = 0;                  // of the log
    std::size_t flushed = ~std::size_t{0};  // durable from here
  };

  Status noted(Status status);
  void all_durable();
  Result<Disk> open_state(const Store& state, bool writable) const;
  std::string judge_contents(Disk& disk, std::size_t end,
                             const std::vector<std::uint64_t>& extra) const;
  bool allowed(std::uint64_t id, std::uint64_t sector, std::size_t end) const;
  std::uint64_t initial(std::uint64_t sector) const;

  MemoryStore before_;
  Store now_;
  Store parent_;
  std::uint64_t parent_sectors_ = 0;
  std::vector<RecordedOp> log_;
  RecordingFile* file_ = nullptr;
  std::optional<Disk> disk_;
  std::vector<Event> events_;
  std::uint64_t next_id_ = 2;
};

}  // namespace openvhd::test
