#include "devices/scsi_controller.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <future>

#include "queue_backend.hpp"
#include "scsi_cd.hpp"
#include "scsi_disk.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::uint32_t kDepth = VirtioScsi::kMostCommands;
constexpr std::uint8_t kMicrosoft[] = {0x60, 0x02, 0x24, 0x80};  // NAA 6 and a company's number

using Naa = std::array<std::uint8_t, 16>;

Naa naa_of(const Guid& id) {
  Naa naa{};
  std::ranges::copy(kMicrosoft, naa.begin());
  std::copy_n(id.bytes.begin() + 4, 12, naa.begin() + 4);
  return naa;
}

// From the image's own id where it has one, so that a guest finds the disk again in another
// machine: that of the chain's base, which stays through checkpoints; of the leaf where another
// disk of this machine (`taken`) has the same base.
scsi::ScsiIdentity identity_of(const ScsiDrive& drive, std::uint16_t lun,
                               std::span<const Naa> taken) {
  scsi::ScsiIdentity who{.product = drive.cd ? "Virtual CD/ROM" : "Virtual Disk",
                         .serial = drive.serial};
  const auto info = drive.disk->info(false);
  std::optional<Guid> id;
  if (info && !info->layers.empty()) id = info->layers.back().identifier;
  if (id && std::ranges::find(taken, naa_of(*id)) != taken.end())
    id = info->layers.front().identifier;
  if (id) {
    who.naa = naa_of(*id);
    if (who.serial.empty()) {
      who.serial = to_string(*id);
      std::erase(who.serial, '-');
    }
    return who;
  }
  if (who.serial.empty()) who.serial = "OVHD" + std::to_string(lun);
  std::ranges::copy(kMicrosoft, who.naa.begin());
  for (std::size_t i = 0; i < std::min<std::size_t>(who.serial.size(), 12); ++i)
    who.naa.at(4 + i) = static_cast<std::uint8_t>(who.serial[i]);
  return who;
}

}  // namespace

Status ScsiController::add_unit(std::uint16_t lun, const ScsiDrive& drive) {
  const auto& geometry = drive.disk->geometry();
  auto who = identity_of(drive, lun, names_);
  names_.push_back(who.naa);
  if (drive.cd)
    return target_.attach(lun,
                          std::make_unique<scsi::ScsiCd>(std::move(who), geometry.virtual_size));
  const bool writable = drive.disk->writable();
  return target_.attach(
      lun, std::make_unique<scsi::ScsiDisk>(
               std::move(who),
               scsi::DiskShape{.bytes = geometry.virtual_size,
                               .logical_block = geometry.logical_sector_size,
                               .physical_block = std::max(geometry.physical_sector_size,
                                                          geometry.logical_sector_size),
                               .allocation_unit = geometry.block_size,
                               .writable = writable,
                               .thin = writable && drive.disk->type() != DiskType::fixed}));
}

// In the thread that serves them.
Status ScsiController::open_queues(std::span<const ScsiDrive> drives) {
  queues_.reserve(drives.size());  // backends point into it
  for (std::size_t i = 0; i < drives.size(); ++i) {
    auto queue = Queue::open(*drives[i].disk, {.depth = kDepth});
    if (!queue) return queue.error();
    queues_.push_back(*std::move(queue));
    backends_.push_back(std::make_unique<scsi::QueueBackend>(queues_.back()));
    device_.port().connect(static_cast<std::uint16_t>(i), *backends_.back());
  }
  return Ok{};
}

Result<std::unique_ptr<ScsiController>> ScsiController::open(std::span<const ScsiDrive> drives,
                                                             const VirtioParts& parts,
                                                             const Fd& ring) {
  auto self = std::make_unique<ScsiController>(Key{}, parts, ring);
  for (std::size_t i = 0; i < drives.size(); ++i)
    if (const auto done = self->add_unit(static_cast<std::uint16_t>(i), drives[i]); !done)
      return done.error();
  std::promise<Status> opened;
  auto answer = opened.get_future();
  self->thread_ = std::thread{[at = self.get(), drives, promise = std::move(opened)]() mutable {
    const auto status = at->open_queues(drives);
    promise.set_value(status);
    if (status) at->serve();
    at->backends_.clear();
    at->queues_.clear();  // in their own thread
  }};
  if (const auto status = answer.get(); !status) return status.error();
  return self;
}

ScsiController::~ScsiController() {
  stop_ = true;
  const std::uint64_t one = 1;
  static_cast<void>(!::write(ring_->get(), &one, sizeof one));
  if (thread_.joinable()) thread_.join();
}

void ScsiController::resized(std::uint16_t lun, std::uint64_t bytes) noexcept {
  if (auto* disk = dynamic_cast<scsi::ScsiDisk*>(target_.unit(lun))) disk->resized(bytes);
  device_.unit_changed(lun);
}

void ScsiController::wait() noexcept {
  std::array<pollfd, scsi::ScsiTarget::kMostUnits + 1> polls{};
  std::size_t count = 0;
  polls.at(count++) = {.fd = ring_->get(), .events = POLLIN, .revents = 0};
  bool blind = false;  // a queue without a descriptor has something under way
  for (auto& queue : queues_) {
    const int fd = queue.descriptor();
    blind = blind || (fd < 0 && queue.under_way() > 0);
    if (fd >= 0) polls.at(count++) = {.fd = fd, .events = POLLIN, .revents = 0};
  }
  static_cast<void>(::poll(polls.data(), count, blind ? 1 : -1));
  std::uint64_t rings = 0;
  static_cast<void>(!::read(ring_->get(), &rings, sizeof rings));
}

void ScsiController::serve() noexcept {
  for (;;) {
    bool more = false;
    // A guest that never stops asking must not keep its registers from being served.
    while (device_.is_wanted()) std::this_thread::yield();
    {
      const std::lock_guard held{device_.lock()};
      const bool stop = stop_;
      if (stop && device_.is_idle()) return;
      if (!stop) more = device_.serve();
      for (auto& queue : queues_) more = queue.poll() > 0 || more;
    }
    if (!more) wait();
  }
}

}  // namespace openvhd::vmm
