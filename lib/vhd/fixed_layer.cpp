#include "vhd/fixed_layer.hpp"

namespace openvhd::vhd {

FixedLayer::FixedLayer(ParsedImage image, const LayerOpenOptions& options)
    : image_{std::move(image)},
      writable_{options.writable},
      geometry_{.virtual_size = image_.virtual_size} {}

std::optional<Error> FixedLayer::refusal() const noexcept {
  if (poison_) return Error{.code = Errc::poisoned, .what = poison_->what};
  if (!writable_) return Error{.code = Errc::read_only, .what = "opened for reading"};
  return std::nullopt;
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

Step<Ok> FixedLayer::flush(FlushTicket& ticket) noexcept {
  if (poison_) return Error{.code = Errc::poisoned, .what = poison_->what};
  if (ticket.target == 0) ticket.target = started_rounds_ + (writes_ != durable_writes_ ? 1 : 0);
  while (finished_rounds_ < ticket.target) {
    if (started_rounds_ == finished_rounds_) {
      ++started_rounds_;
      covers_ = writes_;
      sync_.run(IoCommand::Kind::sync, {}, 0, "sync (D2)");
    }
    if (auto blocked = advance(sync_, token_of(TokenKind::round, 0))) {
      if (const auto* error = std::get_if<Error>(&blocked->why)) poison_ = *error;
      return *blocked;
    }
    sync_.reset();
    finished_rounds_ = started_rounds_;
    durable_writes_ = covers_;
  }
  return Ok{};
}

LayerInfo FixedLayer::info() const { return info_of(image_); }

}  // namespace openvhd::vhd
