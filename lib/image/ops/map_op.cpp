#include "image/ops/map_op.hpp"

#include <algorithm>

namespace openvhd {

std::optional<IoCommand> MapOp::next() noexcept {
  while (may_advance()) {
    auto step = chain().layer(layer_).locate(position(), limit_);
    if (auto* command = std::get_if<IoCommand>(&step)) return from_layer(*command, layer_);
    if (std::holds_alternative<Wait>(step)) return std::nullopt;
    if (const auto* error = std::get_if<Error>(&step)) {
      fail(*error, layer_);
      return std::nullopt;
    }
    const Extent& extent = std::get<Extent>(step);
    switch (extent.kind) {
      case Extent::Kind::data:
        answer(MapEntry::Kind::data, extent.length, extent.at);
        break;
      case Extent::Kind::zero:
        answer(MapEntry::Kind::zero, extent.length, {});
        break;
      case Extent::Kind::absent:
        descend(extent);
        break;
    }
  }
  return std::nullopt;
}

void MapOp::descend(const Extent& extent) noexcept {
  limit_ = extent.length;
  if (layer_ + 1 == chain().depth()) {
    answer(MapEntry::Kind::hole, limit_, {});
    return;
  }
  const std::uint64_t parent_size = chain().layer(layer_ + 1).geometry().virtual_size;
  if (position().value >= parent_size) {
    answer(MapEntry::Kind::hole, limit_, {});
    return;
  }
  ++layer_;
  limit_ = std::min(limit_, parent_size - position().value);
}

void MapOp::answer(MapEntry::Kind kind, std::uint64_t length, FileOffset host) noexcept {
  entry_ = {.at = position(), .length = length, .kind = kind, .layer = layer_, .host_offset = host};
  advance(left());
}

}  // namespace openvhd
