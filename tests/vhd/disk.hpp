/// A disk made of VHD layers, for tests: blocking calls over the operations of lib/image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "image/chain.hpp"
#include "io/image_layer.hpp"
#include "support/fixed_host.hpp"
#include "support/memory_file.hpp"

namespace openvhd::test {

class Disk {
 public:
  /// The leaf first. `complete` as in Chain.
  explicit Disk(std::vector<OpenedImage> images, bool complete = true);

  Status read(std::uint64_t at, std::span<std::byte> into);
  Status write(std::uint64_t at, std::span<const std::byte> from);
  Status clear(std::uint64_t at, std::uint64_t length, ClearKind kind);
  Status flush();
  Status close();

  std::uint64_t size() const { return chain_.geometry().virtual_size; }
  ImageLayer& leaf() { return *images_.front().layer; }
  File& file() { return *images_.front().file; }
  Chain& chain() { return chain_; }
  std::span<File* const> files() const { return files_; }
  /// SHA-256 of the whole disk, in lower-case hexadecimal; empty when a read fails.
  std::string sha256(std::uint64_t bytes);

 private:
  std::vector<OpenedImage> images_;
  std::vector<File*> files_;
  Chain chain_;
};

using Store = std::shared_ptr<MemoryStore>;

Store store_of(std::span<const std::byte> bytes);
/// Opens one image alone. `file` may be any; the host answers the same in every run.
Result<Disk> open_disk(std::unique_ptr<File> file, LayerOpenOptions options);
Result<Disk> open_disk(const Store& store, bool writable = true);
/// A chain, the leaf first and writable.
Result<Disk> open_chain(const std::vector<Store>& stores);

/// The error of a Result that must have failed.
template <class T>
Error error_of(const Result<T>& result) {
  return result ? Error{.code = Errc::cancelled, .what = "(no error)"} : result.error();
}

}  // namespace openvhd::test
