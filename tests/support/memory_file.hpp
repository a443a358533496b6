/// A host file in memory: sparse, with a capacity, and with a life longer than one open.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "io/file.hpp"
#include "support/page_set.hpp"

namespace openvhd::test {

/// The contents: what several MemoryFile objects may share, as several opens share an inode.
class MemoryStore {
 public:
  static constexpr std::uint64_t kPageBytes = 4096;
  /// What ext4 and XFS have as the longest file, so that overflows show as EFBIG.
  static constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 60;

  MemoryStore() = default;
  /// A snapshot, with the same identity and capacity. Pages are shared until one side writes.
  MemoryStore(const MemoryStore& other) = default;
  MemoryStore& operator=(const MemoryStore&) = delete;

  std::uint64_t size = 0;
  /// Bytes of storage there are, counted in whole pages; what does not fit gets -ENOSPC and
  /// changes nothing.
  std::uint64_t capacity = kMaxBytes;
  FileIdentity identity{.device = 0x6d656d, .inode = 1};

  std::uint64_t allocated_bytes() const { return allocated_.count() * kPageBytes; }
  /// Bytes read; fewer at the end of the file.
  std::size_t read(std::uint64_t at, std::span<std::byte> into) const;
  /// 0 or -errno; all or nothing.
  std::int32_t write(std::uint64_t at, std::span<const std::byte> from);
  std::int32_t zero(std::uint64_t at, std::uint64_t length, bool punch);
  std::int32_t reserve(std::uint64_t at, std::uint64_t length);
  std::int32_t set_size(std::uint64_t bytes);
  FileRange next_data(std::uint64_t at, std::uint64_t end) const;
  /// Where it begins; `end` when there is none.
  std::uint64_t first_data(std::uint64_t at, std::uint64_t end) const;

 private:
  using Page = std::array<std::byte, kPageBytes>;
  std::int32_t take_space(std::uint64_t at, std::uint64_t length);
  void clear(std::uint64_t at, std::uint64_t end, bool keep_space);

  Page& own_page(std::uint64_t number);

  std::map<std::uint64_t, std::shared_ptr<Page>> pages_;  // written ones; absent: zeros
  PageSet allocated_;
};

class MemoryFile : public File {
 public:
  struct Options {
    bool writable = true;
    std::string name = "memory";
  };

  /// A new, empty file.
  MemoryFile() : MemoryFile{std::make_shared<MemoryStore>()} {}
  /// Another open of `store`.
  explicit MemoryFile(std::shared_ptr<MemoryStore> store) : MemoryFile{std::move(store), {}} {}
  MemoryFile(std::shared_ptr<MemoryStore> store, Options options)
      : store_{std::move(store)}, options_{std::move(options)} {}
  /// A file with these bytes.
  explicit MemoryFile(std::span<const std::byte> contents);

  std::int32_t execute(const IoCommand& command) noexcept override;
  Result<std::uint64_t> size() noexcept override { return store_->size; }
  std::uint64_t allocated_bytes() noexcept override { return store_->allocated_bytes(); }
  Result<FileRange> next_data(FileOffset at, FileOffset end) noexcept override;
  FileIdentity identity() const noexcept override { return store_->identity; }
  const std::string& name() const noexcept override { return options_.name; }
  bool writable() const noexcept override { return options_.writable; }

  const std::shared_ptr<MemoryStore>& store() const { return store_; }
  /// Commands of this kind that this object has executed.
  std::uint64_t executed(IoCommand::Kind kind) const {
    return executed_[static_cast<std::size_t>(kind)];
  }

 private:
  std::shared_ptr<MemoryStore> store_;
  Options options_;
  std::array<std::uint64_t, 7> executed_{};
};

}  // namespace openvhd::test
