/// Fixed disks: the file is the disk, and a footer.
#pragma once

#include "io/image_layer.hpp"
#include "io/sync_rounds.hpp"
#include "vhd/parse.hpp"

namespace openvhd::vhd {

/// Every sector is where it is in the disk; there is no metadata to keep, and nothing that a
/// look-up on another thread could meet halfway.
class FixedLayer final : public ImageLayer {
 public:
  FixedLayer(ParsedImage image, const LayerOpenOptions& options);

  const Geometry& geometry() const noexcept override { return geometry_; }
  Step<Extent> locate(VirtualOffset at, std::uint64_t length) noexcept override;
  Step<Extent> place(VirtualOffset at, std::uint64_t length) noexcept override;
  void wrote(VirtualOffset, const Extent&) noexcept override { rounds_.wrote(); }
  /// Trimmed space is cleared and stays: a fixed disk is a promise of space.
  Step<Cleared> clear(VirtualOffset at, std::uint64_t length, ClearKind kind) noexcept override;
  Step<Ok> flush(FlushTicket& ticket) noexcept override { return rounds_.flush(ticket, 0); }
  Step<Ok> close(FlushTicket& ticket) noexcept override { return flush(ticket); }
  void complete(std::uint64_t, std::int32_t result) noexcept override { rounds_.complete(result); }
  void enter(OperationTicket&) noexcept override {}
  void leave(OperationTicket&) noexcept override {}

  bool find(VirtualOffset at, std::uint64_t length, Extent& extent) noexcept override;
  bool find_writable(VirtualOffset at, std::uint64_t length, Extent& extent) noexcept override;
  void overwritten() noexcept override { rounds_.wrote(); }
  bool settled() const noexcept override { return true; }

  DiskType type() const noexcept override { return DiskType::fixed; }
  LayerInfo info() const override;
  Result<BlockCounts> count_blocks(File&, std::uint64_t) override { return BlockCounts{}; }
  const ParentLink* parent_link() const noexcept override { return nullptr; }
  Guid link_identity() const noexcept override { return {image_.footer.unique_id}; }

 private:
  std::optional<Error> refusal() const noexcept;

  const ParsedImage image_;
  const bool writable_;
  Geometry geometry_;
  SyncRounds rounds_;
};

}  // namespace openvhd::vhd
