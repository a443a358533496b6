#include "vhd/recording_file.hpp"

#include <cstdlib>

namespace openvhd::test {

std::int32_t RecordingFile::execute(const IoCommand& command) noexcept {
  if (command.kind != IoCommand::Kind::read) {
    const std::uint64_t number = commands_++;
    if (const std::int32_t failed = fault ? fault(command, number) : 0) return failed;
  }
  const std::int32_t result = MemoryFile::execute(command);
  if (result < 0 || command.kind == IoCommand::Kind::read) return result;
  RecordedOp op{command.kind, command.at.value, command.length, {}};
  for (const iovec& piece : command.buffers) {
    const auto* const bytes = static_cast<const std::byte*>(piece.iov_base);
    op.data.insert(op.data.end(), bytes, bytes + piece.iov_len);
  }
  log_.push_back(std::move(op));
  return result;
}

void apply(MemoryStore& store, const RecordedOp& op, std::uint64_t most) {
  std::int32_t result = 0;
  switch (op.kind) {
    case IoCommand::Kind::read:
    case IoCommand::Kind::sync:
      break;
    case IoCommand::Kind::write:
      result = store.write(op.at,
                           std::span{op.data}.first(std::min<std::uint64_t>(most, op.data.size())));
      break;
    case IoCommand::Kind::zero:
    case IoCommand::Kind::punch: {
      // Neither changes the size: what a dropped growth leaves is cut off here.
      const std::uint64_t size = store.size;
      if (op.at < size) {
        result =
            store.zero(op.at, std::min(op.length, size - op.at), op.kind == IoCommand::Kind::punch);
      }
      break;
    }
    case IoCommand::Kind::reserve:
      result = store.reserve(op.at, op.length);
      break;
    case IoCommand::Kind::set_size:
      result = store.set_size(op.at);
      break;
  }
  if (result < 0) std::abort();
}

namespace {

/// What came after the last sync of a prefix, and the state below it.
class Epoch {
 public:
  using Visit = std::function<void(std::shared_ptr<MemoryStore>, std::size_t)>;
  Epoch(const MemoryStore& base, std::vector<RecordedOp> ops, std::size_t end)
      : base_{base}, ops_{std::move(ops)}, end_{end} {}

  void visit_all(std::mt19937_64& random, const Visit& visit) const {
    const std::size_t n = ops_.size();
    const auto state = [&](const std::function<bool(std::size_t)>& keep) {
      auto store = std::make_shared<MemoryStore>(base_);
      for (std::size_t i = 0; i < n; ++i) {
        if (keep(i)) apply(*store, ops_[i]);
      }
      visit(std::move(store), end_);
    };
    state([](std::size_t) { return true; });
    if (n == 0) return;
    for (std::size_t one = 0; one + 1 < n; ++one) {
      state([one](std::size_t i) { return i != one; });
    }
    state([n](std::size_t i) { return i == n - 1; });
    for (unsigned i = 0; i < 12; ++i) {
      state([&random](std::size_t) { return (random() & 1) != 0; });
    }
    if (ops_.back().kind == IoCommand::Kind::write && ops_.back().data.size() > 512) {
      auto store = std::make_shared<MemoryStore>(base_);
      for (std::size_t i = 0; i + 1 < n; ++i) apply(*store, ops_[i]);
      apply(*store, ops_.back(), ops_.back().data.size() / 1024 * 512);
      visit(std::move(store), end_);
    }
  }

 private:
  const MemoryStore& base_;
  std::vector<RecordedOp> ops_;
  std::size_t end_;
};

}  // namespace

void for_each_crash(const MemoryStore& before, const std::vector<RecordedOp>& log,
                    std::uint64_t seed, const Epoch::Visit& visit) {
  std::mt19937_64 random{seed};
  MemoryStore base{before};
  base.capacity = MemoryStore::kMaxBytes;
  std::vector<RecordedOp> open;
  for (std::size_t end = 0; end <= log.size(); ++end) {
    if (end > 0) {
      const RecordedOp& op = log[end - 1];
      if (op.kind == IoCommand::Kind::sync) {
        for (const RecordedOp& done : open) apply(base, done);
        open.clear();
      } else {
        open.push_back(op);
      }
    }
    Epoch{base, open, end}.visit_all(random, visit);
  }
}

}  // namespace openvhd::test
