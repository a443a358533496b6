/// A file that names the durability steps that go through it, and leaves out the ones it is told
/// to.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "crash/mutants.hpp"
#include "crash/session.hpp"

namespace openvhd::test {

class MutantFile final : public File {
 public:
  using Seen = std::function<void(const std::string& step, bool sync)>;

  /// Parts of an image that were changed since the last sync, whoever had it open.
  using Parts = std::shared_ptr<std::set<std::string>>;

  /// `mutant` may be null: then steps are only told to `seen`, which may be empty.
  MutantFile(std::unique_ptr<File> below, const Shape& shape, Surroundings::Phase phase,
             const Mutant* mutant, Seen seen, Parts unsynced);

  std::int32_t execute(const IoCommand& command) noexcept override;
  Result<std::uint64_t> size() noexcept override { return below_->size(); }
  std::uint64_t allocated_bytes() noexcept override { return below_->allocated_bytes(); }
  Result<FileRange> next_data(FileOffset at, FileOffset end) noexcept override {
    return below_->next_data(at, end);
  }
  FileIdentity identity() const noexcept override { return below_->identity(); }
  const std::string& name() const noexcept override { return below_->name(); }
  bool writable() const noexcept override { return below_->writable(); }

 private:
  std::int32_t sync(const IoCommand& command);
  std::int32_t write(IoCommand command);
  std::int32_t below(const IoCommand& command);
  const char* part_of(const IoCommand& command) const;
  bool is(Mutant::Kind kind, const std::string& step) const;

  std::unique_ptr<File> below_;
  const Shape& shape_;
  Surroundings::Phase phase_;
  const Mutant* mutant_;
  Seen seen_;
  Parts unsynced_;
  bool sync_is_late_ = false;
};

/// Puts right every checksum of headers, or of log entries: what a reader sees that never looks.
void reseal(MemoryStore& store, bool headers);

}  // namespace openvhd::test
