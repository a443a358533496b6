#include "vhdx/engine_crash_file.hpp"

#include <algorithm>

namespace openvhd::test {
namespace {

constexpr std::size_t kMetadataAtom = 512;

void apply(MemoryStore& store, const FileEvent& event) {
  switch (event.kind) {
    case IoCommand::Kind::write:
      store.write(event.at, event.bytes);
      break;
    case IoCommand::Kind::zero:
      store.zero(event.at, event.length, false);
      break;
    case IoCommand::Kind::punch:
      store.zero(event.at, event.length, true);
      break;
    case IoCommand::Kind::reserve:
      store.reserve(event.at, event.length);
      break;
    case IoCommand::Kind::set_size:
      store.set_size(event.at);
      break;
    case IoCommand::Kind::read:
    case IoCommand::Kind::sync:
      break;
  }
}

}  // namespace

std::int32_t RecordingFile::execute(const IoCommand& command) noexcept {
  if (fault) {
    if (const std::int32_t result = fault(command); result < 0) return result;
  }
  const std::int32_t result = below_->execute(command);
  if (result < 0 || command.kind == IoCommand::Kind::read) return result;
  FileEvent event{.kind = command.kind,
                  .durable = command.durable,
                  .at = command.at.value,
                  .length = command.length,
                  .bytes = {}};
  for (const iovec& piece : command.buffers) {
    const auto* bytes = static_cast<const std::byte*>(piece.iov_base);
    event.bytes.insert(event.bytes.end(), bytes, bytes + piece.iov_len);
  }
  if (command.kind == IoCommand::Kind::write) {
    event.bytes.resize(static_cast<std::size_t>(result));
  }
  history_.push_back(std::move(event));
  return result;
}

PowerCut::PowerCut(const MemoryStore& start, const FileHistory& history, std::uint64_t payload_at,
                   std::size_t payload_atom)
    : history_{history},
      payload_at_{payload_at},
      payload_atom_{payload_atom},
      durable_{std::make_shared<MemoryStore>(start)} {}

void PowerCut::apply_torn(MemoryStore& store, const FileEvent& event,
                          std::mt19937_64& random) const {
  if (event.kind != IoCommand::Kind::write) {
    if (random() % 2 == 0) apply(store, event);
    return;
  }
  const std::size_t atom = event.at >= payload_at_ ? payload_atom_ : kMetadataAtom;
  for (std::size_t at = 0; at < event.bytes.size(); at += atom) {
    if (random() % 2 == 0) continue;
    const std::size_t length = std::min(atom, event.bytes.size() - at);
    store.write(event.at + at, std::span{event.bytes}.subspan(at, length));
  }
}

void PowerCut::advance(std::size_t cut) {
  std::size_t last = synced_;
  for (std::size_t i = synced_; i < cut; ++i) {
    if (history_[i].kind == IoCommand::Kind::sync) last = i + 1;
  }
  for (; synced_ < last; ++synced_) apply(*durable_, history_[synced_]);
}

std::shared_ptr<MemoryStore> PowerCut::after(std::size_t cut, Survival survival,
                                             std::mt19937_64& random) {
  advance(cut);
  auto store = std::make_shared<MemoryStore>(*durable_);
  const std::size_t open = cut - synced_;
  const std::size_t prefix = open == 0 ? 0 : random() % (open + 1);
  for (std::size_t i = 0; i < open; ++i) {
    const FileEvent& event = history_[synced_ + i];
    if (event.kind == IoCommand::Kind::write && event.durable) {
      apply(*store, event);
    } else if (survival == Survival::torn) {
      apply_torn(*store, event, random);
    } else if (survival == Survival::all || (survival == Survival::prefix && i < prefix) ||
               (survival == Survival::random && random() % 2 == 0)) {
      apply(*store, event);
    }
  }
  if (survival == Survival::torn && cut < history_.size()) {
    apply_torn(*store, history_[cut], random);
  }
  return store;
}

}  // namespace openvhd::test
