#include "image/fake_layer.hpp"

#include <algorithm>

namespace openvhd::test {
namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint64_t kSyncToken = ~std::uint64_t{0};

}  // namespace

FakeLayer::FakeLayer(std::uint64_t size, std::uint64_t seed) : random_{seed} {
  geometry_ = {.virtual_size = size, .block_size = kBlock};
}

void FakeLayer::set(std::uint64_t index, Extent::Kind kind, FileOffset at) {
  blocks_[index] = {kind, at};
}

std::optional<Step<Extent>> FakeLayer::load(std::uint64_t index) {
  if (failure) return *failure;
  if (loaded_.contains(index)) return std::nullopt;
  if (!loading_.insert(index).second) return Step<Extent>{Wait{}};
  return IoCommand{.kind = IoCommand::Kind::read,
                   .at = {},
                   .length = table_.size(),
                   .buffers = {&table_buffer_, 1},
                   .token = index};
}

void FakeLayer::complete(std::uint64_t token, std::int32_t) noexcept {
  if (token == kSyncToken) {
    ++syncs;
    return;
  }
  loading_.erase(token);
  loaded_.insert(token);
}

std::uint64_t FakeLayer::piece(VirtualOffset at, std::uint64_t length) {
  const std::uint64_t in_block = std::min(length, kBlock - at.value % kBlock);
  return kSector * (1 + random_() % (in_block / kSector));
}

Step<Extent> FakeLayer::locate(VirtualOffset at, std::uint64_t length) noexcept {
  const std::uint64_t index = at.value / kBlock;
  if (auto first = load(index)) return *first;
  const Block block = blocks_[index];
  const std::uint64_t into = at.value % kBlock;
  return Extent{block.kind, block.at + into, piece(at, length)};
}

Step<Extent> FakeLayer::place(VirtualOffset at, std::uint64_t length) noexcept {
  const std::uint64_t index = at.value / kBlock;
  if (auto first = load(index)) return *first;
  Block& block = blocks_[index];
  if (block.kind != Extent::Kind::data) {
    block = {Extent::Kind::data, end_};
    end_ = end_ + kBlock;
  }
  return Extent{Extent::Kind::data, block.at + at.value % kBlock, piece(at, length)};
}

void FakeLayer::wrote(VirtualOffset, const Extent& placed) noexcept {
  bytes_wrote += placed.length;
}

Step<Cleared> FakeLayer::clear(VirtualOffset at, std::uint64_t length, ClearKind) noexcept {
  const std::uint64_t index = at.value / kBlock;
  if (auto first = load(index)) {
    if (auto* command = std::get_if<IoCommand>(&*first)) return *command;
    return Wait{};
  }
  const std::uint64_t into = at.value % kBlock;
  if (into == 0 && length >= kBlock) {
    blocks_[index] = {Extent::Kind::zero, {}};
    return Cleared{.length = kBlock};
  }
  const Block block = blocks_[index];
  const std::uint64_t bytes = piece(at, length);
  if (block.kind != Extent::Kind::data) return Cleared{.length = bytes};
  return Cleared{.length = bytes, .host = Cleared::OnHost{IoCommand::Kind::zero, block.at + into}};
}

Step<Ok> FakeLayer::flush(FlushTicket& ticket) noexcept {
  if (ticket.stage++ != 0) return Ok{};
  return IoCommand{.kind = IoCommand::Kind::sync, .token = kSyncToken};
}

}  // namespace openvhd::test
