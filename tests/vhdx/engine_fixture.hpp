/// Driving one engine over a file in memory: what a blocking driver does, in the fewest lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/image_layer.hpp"
#include "support/fixed_host.hpp"
#include "support/memory_file.hpp"
#include "vhdx/engine.hpp"

namespace openvhd::test {

struct EngineShape {
  std::uint64_t virtual_size = std::uint64_t{64} << 20;
  std::uint64_t block_size = std::uint64_t{1} << 20;
  std::uint32_t sector_size = 512;
  bool has_parent = false;
  bool fixed = false;  ///< Sets LeaveBlocksAllocated; the table stays empty.
  std::uint32_t log_bytes = 1 << 20;
  std::uint64_t table_cache_bytes = std::uint64_t{64} << 20;
};

/// An image without any block, made by hand.
std::shared_ptr<MemoryStore> make_image(const EngineShape& shape);
/// Table entries by index, as they are in the file of `make_image`.
std::uint64_t stored_entry(const std::shared_ptr<MemoryStore>& store, const EngineShape& shape,
                           std::uint64_t index);
void store_entry(const std::shared_ptr<MemoryStore>& store, const EngineShape& shape,
                 std::uint64_t index, std::uint64_t entry);
std::uint64_t bat_offset(const EngineShape& shape);

/// Empty for success; for messages.
std::string failure_of(const Status& status);

/// One open of an image. `wrap` may put another file around the one in memory, or in its place
/// where `store` is null.
class OpenEngine {
 public:
  using Wrap = std::function<std::unique_ptr<File>(std::unique_ptr<File>)>;

  OpenEngine(const std::shared_ptr<MemoryStore>& store, const EngineShape& shape,
             bool writable = true, const Wrap& wrap = {});
  /// Reads like a parent would be: a byte that depends on the place alone.
  static std::byte parent_byte(std::uint64_t at);

  ImageLayer& layer() { return *layer_; }
  File& file() { return *file_; }

  Status write(std::uint64_t at, std::span<const std::byte> from);
  /// Ranges that are not here read as zeros, or as parent_byte() of a differencing image.
  Status read(std::uint64_t at, std::span<std::byte> into);
  Status clear(std::uint64_t at, std::uint64_t length, ClearKind kind);
  Status flush();
  Status close();
  Result<Extent> locate(std::uint64_t at, std::uint64_t length);
  Result<Extent> place(std::uint64_t at, std::uint64_t length);

  /// Executes what the layer asks for until it answers; a Wait with nothing in flight ends the
  /// test program, for it would wait for ever.
  template <class T, class Ask>
  Result<T> settle(Ask&& ask);

  std::uint64_t layer_commands = 0;

 private:
  EngineShape shape_;
  FixedHost host_;
  std::unique_ptr<File> file_;
  std::unique_ptr<ImageLayer> layer_;
};

template <class T, class Ask>
Result<T> OpenEngine::settle(Ask&& ask) {
  for (;;) {
    Step<T> step = ask();
    if (auto* answer = std::get_if<T>(&step)) return *answer;
    if (auto* error = std::get_if<Error>(&step)) return *error;
    auto* command = std::get_if<IoCommand>(&step);
    if (command == nullptr) std::abort();
    ++layer_commands;
    layer_->complete(command->token, file_->execute(*command));
  }
}

}  // namespace openvhd::test
