/// Fixed disks: the file is the disk, and a footer.
#pragma once

#include "io/image_layer.hpp"
#include "vhd/parse.hpp"
#include "vhd/pending.hpp"

namespace openvhd::vhd {

/// Every sector is where it is in the disk; there is no metadata to keep.
class FixedLayer final : public ImageLayer {
 public:
  FixedLayer(ParsedImage image, const LayerOpenOptions& options);

  const Geometry& geometry() const noexcept override { return geometry_; }
  Step<Extent> locate(VirtualOffset at, std::uint64_t length) noexcept override;
  Step<Extent> place(VirtualOffset at, std::uint64_t length) noexcept override;
  void wrote(VirtualOffset, const Extent&) noexcept override { ++writes_; }
  /// Trimmed space is cleared and stays: a fixed disk is a promise of space.
  Step<Cleared> clear(VirtualOffset at, std::uint64_t length, ClearKind kind) noexcept override;
  Step<Ok> flush(FlushTicket& ticket) noexcept override;
  Step<Ok> close(FlushTicket& ticket) noexcept override { return flush(ticket); }
  void complete(std::uint64_t token, std::int32_t result) noexcept override;
  void enter(OperationTicket&) noexcept override {}
  void leave(OperationTicket&) noexcept override {}

  DiskType type() const noexcept override { return DiskType::fixed; }
  LayerInfo info() const override;
  Result<BlockCounts> count_blocks(File&, std::uint64_t) override { return BlockCounts{}; }
  const ParentLink* parent_link() const noexcept override { return nullptr; }
  Guid link_identity() const noexcept override { return {image_.footer.unique_id}; }

 private:
  std::optional<Error> refusal() noexcept;

  const ParsedImage image_;
  const bool writable_;
  Geometry geometry_;
  std::uint64_t writes_ = 0;  // completed
  std::uint64_t durable_writes_ = 0;
  std::uint64_t started_rounds_ = 0;
  std::uint64_t finished_rounds_ = 0;
  std::uint64_t covers_ = 0;  // by the sync on its way
  HostCall sync_;
  std::optional<Error> poison_;
  bool poison_told_ = false;
};

}  // namespace openvhd::vhd
