#include "vhd/fixed_layer.hpp"

#include <utility>

namespace openvhd::vhd {

FixedLayer::FixedLayer(ParsedImage image, const LayerOpenOptions& options)
    : image_{std::move(image)},
      writable_{options.writable},
      geometry_{.virtual_size = image_.virtual_size} {}

/// A failed sync itself for the first who learns of it, who may not be the one who asked for it.
std::optional<Error> FixedLayer::refusal() noexcept {
  if (poison_ && !std::exchange(poison_told_, true)) return poison_;
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
  if (poison_) return *refusal();
  if (ticket.target == 0) ticket.target = started_rounds_ + (writes_ != durable_writes_ ? 1 : 0);
  while (finished_rounds_ < ticket.target) {
    if (started_rounds_ == finished_rounds_) {
      ++started_rounds_;
      covers_ = writes_;
      sync_.run(IoCommand::Kind::sync, {}, 0, "sync (D2)");
    }
    if (auto blocked = advance(sync_, token_of(TokenKind::round, 0))) return *blocked;
    sync_.reset();
    finished_rounds_ = started_rounds_;
    durable_writes_ = covers_;
  }
  return Ok{};
}

void FixedLayer::complete(std::uint64_t, std::int32_t result) noexcept {
  sync_.completed(result);
  if (sync_.failed()) poison_ = sync_.error();
}

LayerInfo FixedLayer::info() const { return info_of(image_); }

}  // namespace openvhd::vhd
