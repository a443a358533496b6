/// What takes the place of a layer that could not be opened again.
#pragma once

#include "io/image_layer.hpp"

namespace openvhd {

/// Answers every call with one error: the disk fails, and its file stays as it is.
class BrokenLayer final : public ImageLayer {
 public:
  BrokenLayer(const Geometry& geometry, DiskType type, LayerInfo info, const Guid& id,
              const Error& reason)
      : geometry_{geometry}, type_{type}, info_{std::move(info)}, id_{id}, reason_{reason} {}

  const Geometry& geometry() const noexcept override { return geometry_; }
  Step<Extent> locate(VirtualOffset, std::uint64_t) noexcept override { return reason_; }
  Step<Extent> place(VirtualOffset, std::uint64_t) noexcept override { return reason_; }
  void wrote(VirtualOffset, const Extent&) noexcept override {}
  Step<Cleared> clear(VirtualOffset, std::uint64_t, ClearKind) noexcept override { return reason_; }
  Step<Ok> flush(FlushTicket&) noexcept override { return reason_; }
  Step<Ok> close(FlushTicket&) noexcept override { return reason_; }
  void complete(std::uint64_t, std::int32_t) noexcept override {}
  void enter(OperationTicket&) noexcept override {}
  void leave(OperationTicket&) noexcept override {}

  DiskType type() const noexcept override { return type_; }
  LayerInfo info() const override { return info_; }
  Result<BlockCounts> count_blocks(File&, std::uint64_t) override { return reason_; }
  const ParentLink* parent_link() const noexcept override { return nullptr; }
  Guid link_identity() const noexcept override { return id_; }

 private:
  Geometry geometry_;
  DiskType type_;
  LayerInfo info_;
  Guid id_;
  Error reason_;
};

}  // namespace openvhd
