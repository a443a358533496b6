#include "image/convert/endpoint_disk.hpp"

#include <poll.h>

#include <algorithm>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/ops/map_op.hpp"

namespace openvhd {

Operation* DiskEndpoint::Work::current() noexcept {
  if (auto* const read = std::get_if<ReadOp>(&operation)) return read;
  if (auto* const write = std::get_if<WriteOp>(&operation)) return write;
  return std::get_if<ClearOp>(&operation);
}

DiskEndpoint::DiskEndpoint(Key, detail::DiskState& disk, const Use& use,
                           std::unique_ptr<Driver> driver)
    : disk_{disk},
      traits_{.size = disk.geometry().virtual_size,
              .alignment = disk.geometry().logical_sector_size,
              .zeros = use.zeros,
              // In ascending order blocks lie in the file as they do on the disk.
              .ordered = disk.format() != Format::raw},
      driver_{std::move(driver)},
      works_(use.depth) {}

Result<std::unique_ptr<DiskEndpoint>> DiskEndpoint::open(detail::DiskState& disk, const Use& use) {
  // One operation more than transfers: a look at the map.
  OVHD_TRY(auto driver, make_driver(use.driver, use.depth + 1));
  return std::make_unique<DiskEndpoint>(Key{}, disk, use, std::move(driver));
}

Operation& DiskEndpoint::prepare(Work& work, Transfer& transfer) noexcept {
  work.transfer = &transfer;
  work.buffer = {transfer.data, transfer.length};
  const std::span<const iovec> buffers{&work.buffer, 1};
  switch (transfer.kind) {
    case Transfer::Kind::read:
      return work.operation.emplace<ReadOp>(disk_.chain(), transfer.at, buffers);
    case Transfer::Kind::write:
      return work.operation.emplace<WriteOp>(disk_.chain(), transfer.at, buffers);
    case Transfer::Kind::zero:
      break;
  }
  return work.operation.emplace<ClearOp>(disk_.chain(), transfer.at, transfer.length,
                                         ClearKind::zero);
}

void DiskEndpoint::start(Transfer& transfer) noexcept {
  const auto work = std::ranges::find(works_, nullptr, &Work::transfer);
  if (work == works_.end()) {
    transfer.failure = Error{.code = Errc::busy, .what = "too many transfers on their way"};
    ended_.push(transfer);
    return;
  }
  Operation& operation = prepare(*work, transfer);
  if (const Status started = driver_->start(operation, disk_.files()); !started) {
    ended(*work, started.error());
    return;
  }
  // A driver asks what was started in an order of its own: let this one allocate before the next.
  if (traits_.ordered && transfer.kind == Transfer::Kind::write) pump();
}

void DiskEndpoint::pump() noexcept {
  while (Operation* const operation = driver_->reap()) ended(*operation);
}

void DiskEndpoint::ended(Work& work, std::optional<Error> failure) noexcept {
  Transfer& transfer = *std::exchange(work.transfer, nullptr);
  transfer.failure = failure;
  work.operation.emplace<std::monostate>();
  ended_.push(transfer);
}

void DiskEndpoint::ended(const Operation& operation) noexcept {
  for (Work& work : works_) {
    if (work.current() != &operation) continue;
    const auto outcome = operation.finished();
    std::optional<Error> failure;
    if (!*outcome) failure = outcome->error();
    return ended(work, failure);
  }
}

Transfer* DiskEndpoint::reap() noexcept {
  pump();
  return ended_.pop();
}

Readiness DiskEndpoint::readiness() const noexcept {
  if (!ended_.empty() || driver_->under_way() == 0) return {};
  return {.descriptor = driver_->descriptor(), .events = POLLIN};
}

// Shares the driver with the transfers: a layer's tables may be on their way for either.
Status DiskEndpoint::run_map(Operation& map) noexcept {
  OVHD_CHECK(driver_->start(map, disk_.files()));
  while (Operation* const operation = driver_->wait()) {
    if (operation == &map) break;
    ended(*operation);
  }
  return map.finished().value_or(Error{.code = Errc::io, .what = "a map that did not end"});
}

Result<MapEntry> DiskEndpoint::look(VirtualOffset at, std::uint64_t length) noexcept {
  MapOp op{disk_.chain(), at, length};
  OVHD_CHECK(run_map(op));
  MapEntry entry = op.entry();
  if (entry.kind == MapEntry::Kind::data) disk_.refine_hole(entry);
  return entry;
}

Result<EndpointRun> DiskEndpoint::map(VirtualOffset at, std::uint64_t length) noexcept {
  const std::uint64_t sector = traits_.alignment;
  const std::uint64_t before = at.value % sector;
  const std::uint64_t whole =
      std::min(align_up(before + length, sector), traits_.size - (at.value - before));
  if (whole <= before) return Error{.code = Errc::out_of_range, .what = "map beyond the end"};
  OVHD_TRY(const MapEntry entry, look({at.value - before}, whole));
  // A file may end inside a sector: what follows there is to be read like the rest of it.
  const bool ragged = entry.length % sector != 0;
  const std::uint64_t known = ragged ? align_up(entry.length, sector) : entry.length;
  return EndpointRun{.length = std::min(known - before, length),
                     .zero = !ragged && entry.kind != MapEntry::Kind::data};
}

Status DiskEndpoint::finish() noexcept { return disk_.close(); }

}  // namespace openvhd
