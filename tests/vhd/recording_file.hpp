/// A file that remembers what was done to it and can fail, to put together what a crash leaves.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <vector>

#include "support/memory_file.hpp"

namespace openvhd::test {

struct RecordedOp {
  IoCommand::Kind kind{};
  std::uint64_t at = 0;
  std::uint64_t length = 0;
  std::vector<std::byte> data;
};

class RecordingFile : public MemoryFile {
 public:
  RecordingFile(std::shared_ptr<MemoryStore> store, std::vector<RecordedOp>& log)
      : MemoryFile{std::move(store), {.writable = true, .name = "recorded"}}, log_{log} {}

  std::int32_t execute(const IoCommand& command) noexcept override;

  /// Asked before each command but reads: the -errno with which it fails, or 0. It gets the
  /// number of commands before this one.
  std::function<std::int32_t(const IoCommand&, std::uint64_t)> fault;
  std::uint64_t commands() const { return commands_; }

 private:
  std::vector<RecordedOp>& log_;
  std::uint64_t commands_ = 0;
};

/// Applies one recorded command; of a write only `most` bytes.
void apply(MemoryStore& store, const RecordedOp& op, std::uint64_t most = ~std::uint64_t{0});

/// Calls `visit(state, end)` for what a power cut may leave after the first `end` commands of
/// `log`, for each `end`: all that was synced, and of what came since everything, everything but
/// one command, one command alone, half of the last write, and some random subsets.
void for_each_crash(const MemoryStore& before, const std::vector<RecordedOp>& log,
                    std::uint64_t seed,
                    const std::function<void(std::shared_ptr<MemoryStore>, std::size_t)>& visit);

}  // namespace openvhd::test
