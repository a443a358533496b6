#include "image/disk_state.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/checked.hpp"
#include "base/try.hpp"
#include "image/queue/chain_finder.hpp"
#include "image/queue/owner.hpp"
#include "image/sector_split.hpp"
#include "io/uring_driver.hpp"

namespace openvhd::detail {
namespace {

constexpr std::size_t kLargestSector = 4096;
constexpr std::uint64_t kCheapTableBytes = 1 * kMiB;
constexpr std::uint64_t kWholeTable = ~std::uint64_t{0};
}  // namespace

std::vector<File*> files_of(const OpenedChain& opened) {
  std::vector<File*> out;
  for (const OpenedImage& image : opened.images) out.push_back(image.file.get());
  return out;
}

Chain chain_of(const OpenedChain& opened) {
  std::vector<Layer*> layers;
  for (const OpenedImage& image : opened.images) layers.push_back(image.layer.get());
  return Chain{std::move(layers), opened.complete};
}

DiskState::DiskState(OpenedChain opened, Access access, DriverKind driver, Host& host)
    : opened_{std::move(opened)},
      files_{files_of(opened_)},
      chain_{chain_of(opened_)},
      access_{access},
      driver_kind_{driver},
      shape_{chain_.geometry()},
      virtual_size_{shape_.virtual_size},
      block_size_{shape_.block_size},
      type_{image(0).type()},
      host_{&host} {
  opened_.how.writable = writable();
  for (OpenedImage& one : opened_.images) one.first_id = one.layer->link_identity();
}

DiskState::~DiskState() {
  // Nobody is left to tell; a caller that wants to know calls close().
  if (!closed_) static_cast<void>(close());
}

Result<std::unique_ptr<DiskState>> DiskState::open(const std::string& path,
                                                   const OpenOptions& options, Host& host) {
  OVHD_TRY(OpenedChain opened, open_chain(path, options, host));
  DriverKind driver = DriverKind::blocking;
  if (options.driver != DriverKind::blocking) {
    const auto support = UringDriver::probe();
    if (support.available) driver = DriverKind::io_uring;
    if (!support.available && options.driver == DriverKind::io_uring) {
      return Error{.code = Errc::unsupported, .what = support.reason};
    }
  }
  return std::make_unique<DiskState>(std::move(opened), options.access, driver, host);
}

template <class Question>
void DiskState::ask_owner(Question question) noexcept {
  if (!owner_is_elsewhere()) return question();
  Job job{.kind = Job::Kind::call,
          .call = [](Job& asked) noexcept { (*static_cast<Question*>(asked.context))(); },
          .context = &question};
  static_cast<void>(owner_->run(job));
}

void DiskState::abandon() noexcept {
  closed_ = true;
  owner_.reset();
}

Status DiskState::start_owner() {
  if (owner_) return Ok{};
  OVHD_TRY(auto driver, make_owner_driver(driver_kind_, Owner::kDepth));
  finder_ = std::make_unique<ChainFinder>(chain_, ChainFinder::kBytes);
  for (std::uint32_t i = 0; i < chain_.depth(); ++i) chain_.layer(i).share(readers_);
  driver_.reset();
  owner_ = std::make_unique<Owner>(chain_, files_, std::move(driver), counts_);
  return Ok{};
}

Result<Readers::Slot*> DiskState::join_queue() {
  const std::scoped_lock lock{joining_};
  if (closed_) return Error{.code = Errc::invalid, .what = "the disk is closed"};
  OVHD_CHECK(start_owner());
  Readers::Slot* const slot = readers_.join();
  if (slot == nullptr) return Error{.code = Errc::busy, .what = "64 queues are open"};
  ++queues_;
  return slot;
}

void DiskState::leave_queue(Readers::Slot& slot) noexcept {
  // Once the owner has answered, it speaks to nobody of this queue any more.
  Job last{.kind = Job::Kind::call, .call = [](Job&) noexcept {}};
  static_cast<void>(owner_->run(last));
  const std::scoped_lock lock{joining_};
  readers_.leave(slot);
  --queues_;
}

Status DiskState::run(Job& job) noexcept {
  if (owner_is_elsewhere()) return owner_->run(job);
  if (!driver_) {
    // One operation at a time; its own commands still go out side by side.
    OVHD_TRY(driver_, make_driver(driver_kind_, 1));
  }
  JobOperation operation{chain_, counts_};
  operation.begin(job);
  // end() tells what the driver said, but where it did not even begin.
  const Status outcome =
      openvhd::run(*driver_, operation, std::span{files_}.subspan(job.first_layer));
  if (!operation.finished()) return outcome;
  return operation.end().status;
}

Status DiskState::check_range(VirtualOffset at, std::uint64_t length, bool writing) const noexcept {
  if (closed_) return Error{.code = Errc::invalid, .what = "the disk is closed"};
  if (!range_fits(at.value, length, virtual_size())) {
    return Error{.code = Errc::out_of_range, .what = "request beyond the end of the disk"};
  }
  if (writing && !writable()) return Error{.code = Errc::read_only, .what = "opened for reading"};
  return Ok{};
}

Status DiskState::read_sectors(VirtualOffset at, std::span<std::byte> into) noexcept {
  const iovec buffer{into.data(), into.size()};
  Job job{.kind = Job::Kind::read, .at = at, .buffers = {&buffer, 1}};
  return run(job);
}

Status DiskState::write_sectors(VirtualOffset at, std::span<const std::byte> from) noexcept {
  // A write never changes the buffer that an iovec names as mutable.
  const iovec buffer{const_cast<std::byte*>(from.data()), from.size()};
  Job job{.kind = Job::Kind::write, .at = at, .buffers = {&buffer, 1}};
  return run(job);
}

Status DiskState::read(VirtualOffset at, std::span<std::byte> into) noexcept {
  OVHD_CHECK(check_range(at, into.size(), false));
  const std::uint64_t sector = geometry().logical_sector_size;
  const SectorSplit parts = split_at_sectors(at, into.size(), sector);
  alignas(kLargestSector) std::array<std::byte, kLargestSector> bounce;
  const auto whole = std::span{bounce}.first(sector);
  if (parts.head != 0) {
    OVHD_CHECK(read_sectors({align_down(at.value, sector)}, whole));
    std::memcpy(into.data(), whole.data() + at.value % sector, parts.head);
  }
  if (parts.middle != 0) {
    OVHD_CHECK(read_sectors(at + parts.head, into.subspan(parts.head, parts.middle)));
  }
  if (parts.tail != 0) {
    const std::uint64_t done = parts.head + parts.middle;
    OVHD_CHECK(read_sectors(at + done, whole));
    std::memcpy(into.data() + done, whole.data(), parts.tail);
  }
  return Ok{};
}

Status DiskState::patch_sector(VirtualOffset at, std::span<const std::byte> from) noexcept {
  const std::uint64_t sector = geometry().logical_sector_size;
  alignas(kLargestSector) std::array<std::byte, kLargestSector> bounce;
  const auto whole = std::span{bounce}.first(sector);
  const VirtualOffset start{align_down(at.value, sector)};
  OVHD_CHECK(read_sectors(start, whole));
  std::memcpy(whole.data() + (at - start), from.data(), from.size());
  return write_sectors(start, whole);
}

Status DiskState::write(VirtualOffset at, std::span<const std::byte> from) noexcept {
  OVHD_CHECK(check_range(at, from.size(), true));
  const SectorSplit parts = split_at_sectors(at, from.size(), geometry().logical_sector_size);
  if (parts.head != 0) OVHD_CHECK(patch_sector(at, from.first(parts.head)));
  if (parts.middle != 0) {
    OVHD_CHECK(write_sectors(at + parts.head, from.subspan(parts.head, parts.middle)));
  }
  if (parts.tail != 0) {
    OVHD_CHECK(patch_sector(at + (parts.head + parts.middle), from.last(parts.tail)));
  }
  return Ok{};
}

Status DiskState::clear(VirtualOffset at, std::uint64_t length, ClearKind kind) noexcept {
  OVHD_CHECK(check_range(at, length, true));
  constexpr std::array<std::byte, kLargestSector> kZeros{};
  const SectorSplit parts = split_at_sectors(at, length, geometry().logical_sector_size);
  if (parts.head != 0) OVHD_CHECK(patch_sector(at, std::span{kZeros}.first(parts.head)));
  if (parts.middle != 0) {
    Job job{.kind = kind == ClearKind::trim ? Job::Kind::trim : Job::Kind::zero,
            .at = at + parts.head,
            .length = parts.middle};
    OVHD_CHECK(run(job));
  }
  if (parts.tail != 0) {
    OVHD_CHECK(patch_sector(at + (parts.head + parts.middle), std::span{kZeros}.first(parts.tail)));
  }
  return Ok{};
}

Status DiskState::flush() noexcept {
  OVHD_CHECK(check_range({}, 0, true));
  Job job{.kind = Job::Kind::flush};
  return run(job);
}

Status DiskState::close() noexcept {
  if (closed_) return Ok{};
  {
    const std::scoped_lock lock{joining_};
    if (queues_ != 0) return Error{.code = Errc::busy, .what = "queues of this disk are open"};
    if (changing_) return Error{.code = Errc::busy, .what = "its layers are being changed"};
    closed_ = true;
  }
  Status outcome{Ok{}};
  if (writable()) {
    Job job{.kind = Job::Kind::close};
    outcome = run(job);
  }
  owner_.reset();
  // Locks go with the descriptors: others may open the image while this object still lives.
  driver_.reset();
  for (OpenedImage& image : opened_.images) image.file.reset();
  std::ranges::fill(files_, nullptr);
  return outcome;
}

Result<MapEntry> DiskState::map(VirtualOffset at, std::uint64_t length) noexcept {
  OVHD_CHECK(check_range(at, length, false));
  const std::uint64_t sector = geometry().logical_sector_size;
  if (!is_multiple(at.value, sector) || !is_multiple(length, sector) || length == 0) {
    return Error{.code = Errc::misaligned, .what = "map of no, or of parts of, sectors"};
  }
  for (;;) {
    const std::uint64_t generation = this->generation();
    Job job{.kind = Job::Kind::map, .at = at, .length = length};
    OVHD_CHECK(run(job));
    MapEntry entry = job.entry;
    if (entry.kind != MapEntry::Kind::data) return entry;
    // Its layer may be another one by now; then the answer is too.
    bool same = true;
    ask_owner([&] {
      same = generation == this->generation();
      if (same) refine_hole(entry);
    });
    if (same) return entry;
  }
}

// Space that is allocated but was never written reads as zeros, and the host knows where.
void DiskState::refine_hole(MapEntry& entry) noexcept {
  File& file = *files_[entry.layer];
  const FileOffset end = entry.host_offset + entry.length;
  const auto data = file.next_data(entry.host_offset, end);
  if (!data) return;  // A host that cannot tell: all of it is data.
  const std::uint64_t sector = geometry().logical_sector_size;
  const std::uint64_t before =
      data->length == 0 ? entry.length : align_down(data->at - entry.host_offset, sector);
  if (before != 0) {
    entry.kind = MapEntry::Kind::zero;
    entry.length = before;
    return;
  }
  const std::uint64_t run_end = (data->at + data->length) - entry.host_offset;
  entry.length = std::min(entry.length, align_up(run_end, sector));
}

Result<DiskInfo> DiskState::info(bool count_blocks) {
  OVHD_CHECK(check_range({}, 0, false));
  Result<DiskInfo> answer{DiskInfo{}};
  ask_owner([&] { answer = info_here(count_blocks); });
  return answer;
}

Result<DiskInfo> DiskState::info_here(bool count_blocks) {
  DiskInfo out;
  out.driver = driver_kind_ == DriverKind::blocking ? "thread pool" : "io_uring";
  for (std::uint32_t i = 0; i < chain_.depth(); ++i) {
    LayerInfo layer = image(i).info();
    layer.path = opened_.paths[i];
    OVHD_TRY(const std::uint64_t file_size, files_[i]->size());
    layer.file_size = file_size;
    layer.allocated_bytes = files_[i]->allocated_bytes();
    auto counts = image(i).count_blocks(*files_[i], count_blocks ? kWholeTable : kCheapTableBytes);
    if (counts) {
      layer.blocks = *counts;
    } else if (counts.error().code != Errc::out_of_range) {
      Error error = counts.error();
      error.layer = i;
      return error;
    }
    out.layers.push_back(std::move(layer));
  }
  return out;
}

ImageStatistics DiskState::statistics() noexcept {
  ImageStatistics out = counts_.read();
  LayerCounters leaf;
  ask_owner([&] { leaf = image(0).counters(); });
  out.allocated_blocks = leaf.allocated_blocks;
  out.commits = leaf.commits;
  return out;
}

}  // namespace openvhd::detail
