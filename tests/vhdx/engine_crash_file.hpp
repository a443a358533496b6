/// A file that keeps what was done to it, so that a test can ask what a power cut would leave;
/// and that fails on request.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "support/memory_file.hpp"

namespace openvhd::test {

/// Something that changed a file, or made changes durable.
struct FileEvent {
  IoCommand::Kind kind{};
  bool durable = false;
  std::uint64_t at = 0;
  std::uint64_t length = 0;
  std::vector<std::byte> bytes;  ///< Of a write.
};

using FileHistory = std::vector<FileEvent>;

class RecordingFile final : public File {
 public:
  /// Events are added to `history`, which outlives the file.
  RecordingFile(std::unique_ptr<File> below, FileHistory& history)
      : below_{std::move(below)}, history_{history} {}

  /// Asked before each command; a negative answer is its result, and nothing happens.
  std::function<std::int32_t(const IoCommand&)> fault;

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
  std::unique_ptr<File> below_;
  FileHistory& history_;
};

/// Which of the changes that were not yet synced a power cut kept.
enum class Survival { none, all, prefix, random, torn };

/// What power loss after the first `cut` events of `history` may leave of a file that began as
/// `start`. A sync keeps all before it; a durable write keeps itself. Others survive as told. Torn
/// are also writes that were on their way, durable ones too: in sectors of 512 bytes, or of
/// `payload_atom` from `payload_at` on.
class PowerCut {
 public:
  PowerCut(const MemoryStore& start, const FileHistory& history, std::uint64_t payload_at,
           std::size_t payload_atom);
  /// `cut` only grows from call to call.
  std::shared_ptr<MemoryStore> after(std::size_t cut, Survival survival, std::mt19937_64& random);

 private:
  void advance(std::size_t cut);
  void apply_torn(MemoryStore& store, const FileEvent& event, std::mt19937_64& random) const;

  const FileHistory& history_;
  std::uint64_t payload_at_;
  std::size_t payload_atom_;
  std::shared_ptr<MemoryStore> durable_;  // everything before `synced_`
  std::size_t synced_ = 0;
};

}  // namespace openvhd::test
