#include "crash/workload.hpp"

#include <algorithm>

#include "image/ops/clear_op.hpp"
#include "image/ops/flush_op.hpp"
#include "image/ops/write_op.hpp"
#include "support/shuffle_driver.hpp"

namespace openvhd::test {

Actor::Actor(const Shape& shape, std::uint64_t seed, const Surroundings& around)
    : shape_{shape},
      seed_{seed},
      around_{around},
      random_{seed},
      disk_{std::make_shared<SimDisk>()},
      blank_{blank_contents(shape)} {
  disk_->now().capacity = shape.capacity;
  if (around_.disk) around_.disk(*disk_);
  hosts_.push_back(around_.make_host(0, seed_));
  const auto file = around_.file(std::make_unique<SimFile>(disk_), Surroundings::Phase::create);
  note("create", create_image(*file, shape_, *hosts_.back()));
  from_tick_ = now();
  if (failures_.empty()) open();
}

Actor::~Actor() = default;

void Actor::open() {
  hosts_.push_back(around_.make_host(hosts_.size(), seed_));
  const SecondOpinion before = second_opinion(shape_, disk_->now());
  opens_.push_back({now(), next_id_, before.file_write_id, before.data_write_id});
  auto opened = Session::open(
      shape_, around_.file(std::make_unique<SimFile>(disk_), Surroundings::Phase::run), true,
      *hosts_.back());
  if (opened) {
    session_ = *std::move(opened);
  } else {
    note("open", opened.error());
  }
}

void Actor::note(const char* what, const Status& status, Change* change) {
  if (status) return;
  if (change != nullptr) failed_[static_cast<std::size_t>(change - changes_.data())] = true;
  failures_.push_back({what, status.error(), now()});
}

std::string Actor::trouble() const {
  if (failures_.empty()) return {};
  return failures_.front().call + ": " + describe(failures_.front().error, "image");
}

Change* Actor::start(std::uint64_t id, std::uint64_t first, std::uint64_t count) {
  changes_.push_back({.id = id, .first = first, .count = count, .begun = now()});
  failed_.push_back(false);
  return &changes_.back();
}

void Actor::write(std::uint64_t first, std::uint64_t count) {
  if (!session_ || first >= shape_.sectors()) return;
  count = std::min(count, shape_.sectors() - first);
  Change* const change = start(next_id_++, first, count);
  note("write", session_->write(first, count, change->id), change);
}

void Actor::clear(std::uint64_t first, std::uint64_t count, ClearKind kind) {
  if (!session_ || first >= shape_.sectors()) return;
  count = std::min(count, shape_.sectors() - first);
  Change* const change = start(kZeroId, first, count);
  note("clear", session_->clear(first, count, kind), change);
}

void Actor::zero(std::uint64_t first, std::uint64_t count) { clear(first, count, ClearKind::zero); }
void Actor::trim(std::uint64_t first, std::uint64_t count) { clear(first, count, ClearKind::trim); }
void Actor::trim_block(std::uint64_t block) {
  trim(block * shape_.block_sectors(), shape_.block_sectors());
}

/// What no flush covered is old or new, and no later one decides which.
void Actor::all_uncertain() {
  for (std::size_t i = 0; i < changes_.size(); ++i)
    failed_[i] = failed_[i] || changes_[i].durable > now();
}

void Actor::all_durable(std::size_t changes) {
  for (std::size_t i = 0; i < changes; ++i)
    if (!failed_[i]) changes_[i].durable = std::min(changes_[i].durable, now());
}

void Actor::flush() {
  if (!session_) return;
  const Status status = session_->flush();
  // The host tells of a failed sync once, and may then have forgotten what it was of.
  status ? all_durable(changes_.size()) : all_uncertain();
  note("flush", status);
}

void Actor::close() {
  if (!session_) return;
  const Status status = session_->close();
  status ? all_durable(changes_.size()) : all_uncertain();
  note("close", status);
  session_.reset();
}

void Actor::reopen() {
  close();
  open();
}

void Actor::tamper(std::uint64_t at, std::span<const std::byte> bytes) {
  close();
  SimFile file{disk_};
  note("tamper", file.write_all({at}, bytes));
  note("tamper", file.sync());
  open();
}

void Actor::kill() {
  all_uncertain();
  session_.reset();
  open();
}

void Actor::together(const std::vector<Side>& sides) {
  if (!session_) return;
  std::vector<std::vector<std::byte>> buffers(sides.size());
  std::vector<iovec> pieces(sides.size());
  std::vector<std::unique_ptr<Operation>> operations;
  const std::size_t before = changes_.size();
  changes_.reserve(before + sides.size());
  std::vector<Change*> changes;
  for (std::size_t i = 0; i < sides.size(); ++i) {
    const Side& side = sides[i];
    const VirtualOffset at{side.first * shape_.sector};
    const std::uint64_t length = side.count * shape_.sector;
    Chain& chain = session_->chain();
    if (side.kind == Side::Kind::flush) {
      operations.push_back(std::make_unique<FlushOp>(chain, FlushOp::Kind::flush));
      changes.push_back(nullptr);
      continue;
    }
    const bool writes = side.kind == Side::Kind::write;
    changes.push_back(start(writes ? next_id_++ : kZeroId, side.first, side.count));
    if (!writes) {
      const auto kind = side.kind == Side::Kind::zero ? ClearKind::zero : ClearKind::trim;
      operations.push_back(std::make_unique<ClearOp>(chain, at, length, kind));
      continue;
    }
    buffers[i].resize(length);
    stamp(buffers[i], shape_.sector, side.first, changes.back()->id);
    pieces[i] = {buffers[i].data(), buffers[i].size()};
    operations.push_back(
        std::make_unique<WriteOp>(chain, at, std::span<const iovec>{&pieces[i], 1}));
  }
  std::vector<Operation*> pointers;
  for (const auto& operation : operations) pointers.push_back(operation.get());
  used_random_ = true;
  used_together_ = true;
  ShuffleDriver driver{session_->files(), random_(), true};
  const auto outcomes = driver.run(pointers);
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    // A flush beside them covers what completed before all of them were submitted.
    if (changes[i] == nullptr) outcomes[i] ? all_durable(before) : all_uncertain();
    note("side by side", outcomes[i], changes[i]);
  }
}

Allowed Actor::allowed(std::uint64_t durable, std::uint64_t begun) const {
  Allowed out{blank_};
  for (const Change& change : changes_) {
    if (change.durable <= durable)
      out.must(change);
    else if (change.begun <= begun)
      out.may(change);
  }
  return out;
}

}  // namespace openvhd::test
