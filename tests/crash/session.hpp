/// One open of a disk under test: its leaf on any File, its parent in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <openvhd/error.hpp>
#include <optional>
#include <span>
#include <vector>

#include "crash/contents.hpp"
#include "crash/verify/image.hpp"
#include "image/chain.hpp"
#include "io/image_layer.hpp"
#include "support/memory_file.hpp"

namespace openvhd::test {

/// What a workload works on.
struct Shape {
  Format format = Format::vhdx;
  DiskType type = DiskType::dynamic;
  std::uint64_t virtual_size = 0;
  std::uint64_t block_size = std::uint64_t{1} << 20;
  std::uint32_t sector = 512;
  std::uint64_t log_bytes = std::uint64_t{1} << 20;
  std::uint64_t table_cache_bytes = std::uint64_t{64} << 20;
  /// Bytes that the host has for the file.
  std::uint64_t capacity = MemoryStore::kMaxBytes;

  bool has_parent() const { return type == DiskType::differencing; }
  std::uint64_t sectors() const { return virtual_size / sector; }
  std::uint64_t block_sectors() const { return block_size / sector; }
  /// What the parent reads as covers this much of the disk; behind it are zeros.
  std::uint64_t parent_sectors() const;
};

/// Writes a new image into an empty file.
Status create_image(File& file, const Shape& shape, Host& host);
/// A raw file whose every sector is the parent's; made once for each shape and thread.
std::shared_ptr<MemoryStore> parent_of(const Shape& shape);
/// What a new disk of this shape holds.
Contents blank_contents(const Shape& shape);

class Session {
 public:
  static Result<std::unique_ptr<Session>> open(const Shape& shape, std::unique_ptr<File> leaf,
                                               bool writable, Host& host);

  Status write(std::uint64_t first, std::uint64_t count, std::uint64_t id);
  Status clear(std::uint64_t first, std::uint64_t count, ClearKind kind);
  Status flush();
  Status close();
  /// The whole disk: where the layers say that bytes are, they are read.
  Result<Contents> contents();

  Chain& chain() { return *chain_; }
  std::span<File* const> files() const { return files_; }
  ImageLayer& leaf() { return *images_.front().layer; }

 private:
  explicit Session(const Shape& shape) : shape_{shape} {}
  Status read_into(Contents& out, std::uint64_t at, std::uint64_t host, std::uint64_t length);

  Shape shape_;
  std::vector<OpenedImage> images_;
  std::vector<File*> files_;
  std::optional<Chain> chain_;
};

/// The same from the other side: what the checker that knows no engine says of a file.
struct SecondOpinion {
  std::string wrong;  ///< Empty: sound.
  Contents contents;
  bool clean = false;
  verify::Image::Id file_write_id{};
  verify::Image::Id data_write_id{};
};
SecondOpinion second_opinion(const Shape& shape, const MemoryStore& store);

}  // namespace openvhd::test
