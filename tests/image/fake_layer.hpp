/// A layer whose map a test writes down, and which is as awkward as a layer may be: it answers in
/// small pieces, asks for a command of its own first, and makes others wait for that command.
#pragma once

#include <map>
#include <optional>
#include <random>
#include <set>
#include <vector>

#include "io/layer.hpp"

namespace openvhd::test {

class FakeLayer final : public Layer {
 public:
  static constexpr std::uint64_t kBlock = 16 * 1024;

  FakeLayer(std::uint64_t size, std::uint64_t seed);

  /// What block `index` is; data lies at the file offset given. Absent until said otherwise.
  void set(std::uint64_t index, Extent::Kind kind, FileOffset at = {});

  const Geometry& geometry() const noexcept override { return geometry_; }
  Step<Extent> locate(VirtualOffset at, std::uint64_t length) noexcept override;
  Step<Extent> place(VirtualOffset at, std::uint64_t length) noexcept override;
  void wrote(VirtualOffset at, const Extent& placed) noexcept override;
  Step<Cleared> clear(VirtualOffset at, std::uint64_t length, ClearKind kind) noexcept override;
  Step<Ok> flush(FlushTicket& ticket) noexcept override;
  Step<Ok> close(FlushTicket& ticket) noexcept override { return flush(ticket); }
  void complete(std::uint64_t token, std::int32_t result) noexcept override;
  void enter(OperationTicket&) noexcept override { ++entered; }
  void leave(OperationTicket&) noexcept override { ++left; }

  int entered = 0;
  int left = 0;
  std::uint64_t bytes_wrote = 0;
  std::uint64_t syncs = 0;
  std::optional<Error> failure;  ///< The answer to everything, once set.

 private:
  struct Block {
    Extent::Kind kind = Extent::Kind::absent;
    FileOffset at{};
  };
  /// Empty when the block is known; otherwise what to do first.
  std::optional<Step<Extent>> load(std::uint64_t index);
  std::uint64_t piece(VirtualOffset at, std::uint64_t length);

  Geometry geometry_;
  std::mt19937_64 random_;
  std::map<std::uint64_t, Block> blocks_;
  std::set<std::uint64_t> loaded_;
  std::set<std::uint64_t> loading_;
  std::vector<std::byte> table_ = std::vector<std::byte>(512);
  iovec table_buffer_{table_.data(), table_.size()};
  FileOffset end_{1 << 20};
};

}  // namespace openvhd::test
