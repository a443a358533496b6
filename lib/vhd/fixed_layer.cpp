#include "vhd/fixed_layer.hpp"

#include <utility>

namespace openvhd::vhd {

FixedLayer::FixedLayer(ParsedImage image, const LayerOpenOptions& options)
    : image_{std::move(image)},
      writable_{options.writable},
      geometry_{.virtual_size = image_.virtual_size} {}

std::optional<Error> FixedLayer::refusal() const noexcept {
  if (!writable_) return Error{.code = Errc::read_only, .what = "opened for reading"};
  return rounds_.refusal();
}

Step<Extent> FixedLayer::locate(VirtualOffset at, std::uint64_t length) noexcept {
  return Extent{Extent::Kind::data, {at.value}, length};
}

Step<Extent> FixedLayer::place(VirtualOffset at, std::uint64_t length) noexcept {
  if (const auto error = refusal()) return *error;
  return Extent{Extent::Kind::data, {at.value}, length};
}

Step<Cleared> FixedLayer::clear(VirtualOffset at, std::uint64_t length, ClearKind) noexcept {
  if (const auto error = refusal()) return *error;
  return Cleared{length, Cleared::OnHost{IoCommand::Kind::zero, {at.value}}};
}

bool FixedLayer::find(VirtualOffset at, std::uint64_t length, Extent& extent) noexcept {
  extent = {Extent::Kind::data, {at.value}, length};
  return true;
}

bool FixedLayer::find_writable(VirtualOffset at, std::uint64_t length, Extent& extent) noexcept {
  if (!writable_ || rounds_.poisoned()) return false;
  extent = {Extent::Kind::data, {at.value}, length};
  return true;
}

LayerInfo FixedLayer::info() const { return info_of(image_); }

}  // namespace openvhd::vhd
