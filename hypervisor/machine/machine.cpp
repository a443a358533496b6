#include "machine/machine.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "base/try.hpp"
#include "devices/ata_disk.hpp"
#include "devices/atapi_cd.hpp"
#include "firmware/elf_boot.hpp"
#include "firmware/linux_boot.hpp"

namespace openvhd::vmm {
namespace {

constexpr std::size_t kMostIde = 4;

// As firmware names them; positions count on each bus.
std::vector<std::string> boot_order(const MachineShape& shape) {
  std::vector<std::string> order;
  std::size_t ide = 0, scsi = 0;
  for (const auto& drive : shape.drives) {
    if (drive.scsi)
      order.push_back("/pci@i0cf8/scsi@" + std::to_string(Board::kScsiSlot) + "/channel@0/disk@0," +
                      std::to_string(scsi++));
    else
      order.push_back("/pci@i0cf8/ide@1,1/drive@" + std::to_string(ide / 2) + "/disk@" +
                      std::to_string(ide % 2));
    if (!drive.scsi) ++ide;
  }
  return order;
}

std::string hex(std::uint64_t value) {
  std::array<char, 19> text{};
  std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(value));
  return text.data();
}

std::string stuck_text(const Exit& exit) {
  switch (exit.kind) {
    case Exit::Kind::not_emulated:
      return "KVM cannot carry out an instruction of the guest (internal error, suberror " +
             std::to_string(exit.detail) + "); vhdvmm doctor tells whether this host has hardware";
    case Exit::Kind::not_entered:
      return "the processor refused the guest's state (reason " + hex(exit.detail) + ")";
    case Exit::Kind::halted:
      return "a processor halted without interrupt chips";
    default:
      return "KVM came back with exit reason " + std::to_string(exit.detail);
  }
}

}  // namespace

Machine::Machine(Key, Vm vm, GuestMemory memory, PageBuffer rom, Fd ended) noexcept
    : vm_{std::move(vm)},
      memory_{std::move(memory)},
      map_{vm_, memory_, std::move(rom)},
      ended_{std::move(ended)} {}

Machine::~Machine() {
  stop();
  for (auto& thread : threads_)
    if (thread.joinable()) thread.join();
  // Their threads complete requests of devices that are still there.
  blocks_.clear();
  scsi_.reset();
}

Result<std::unique_ptr<Machine>> Machine::create(const KvmHost& host, const MachineShape& shape,
                                                 const Boot& boot, const Outputs& outputs) {
  OVHD_TRY(auto memory,
           GuestMemory::create({.bytes = shape.memory_bytes, .huge_pages = shape.huge_pages}));
  OVHD_TRY(auto vm, Vm::create(host, {.interval_timer = shape.generation == Generation::one}));
  PageBuffer rom;
  if (!boot.firmware.empty()) {
    if (boot.firmware.size() % 4096 != 0 || boot.firmware.size() > MemoryMap::kMaxRom)
      return Error{.code = Errc::unsupported, .what = "firmware: whole pages, up to 4 MiB"};
    OVHD_TRY(rom, PageBuffer::copy_of(boot.firmware));
  }
  Fd ended{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!ended) return Error{.code = Errc::io, .sys_errno = errno, .what = "eventfd"};
  OVHD_CHECK(Vcpu::prepare_kicks());
  auto machine = std::make_unique<Machine>(Key{}, std::move(vm), std::move(memory), std::move(rom),
                                           std::move(ended));
  OVHD_CHECK(machine->map_.map_all());
  machine->board_.emplace(BoardParts{.vm = machine->vm_,
                                     .memory = machine->memory_,
                                     .map = machine->map_,
                                     .events = *machine,
                                     .serial = outputs.serial,
                                     .firmware_log = outputs.firmware_log},
                          BoardShape{.generation = shape.generation,
                                     .processors = shape.processors,
                                     .name = shape.name,
                                     .boot_order = boot_order(shape)});
  OVHD_CHECK(machine->add_flash(boot));
  OVHD_CHECK(machine->add_ide(shape));
  OVHD_CHECK(machine->add_scsi(shape));
  OVHD_CHECK(machine->add_processors(host, shape, boot));
  return machine;
}

Status Machine::add_flash(const Boot& boot) {
  if (boot.variables == nullptr || boot.firmware.empty()) return Ok{};
  OVHD_CHECK(map_.add_flash(boot.variables->bytes()));
  flash_.emplace(map_, *boot.variables);
  board_->memory().attach(map_.flash_at(), boot.variables->bytes().size(), flash_->device());
  return Ok{};
}

Status Machine::add_scsi(const MachineShape& shape) {
  std::vector<ScsiDrive> drives;
  for (const auto& drive : shape.drives)
    if (drive.scsi) drives.push_back({.disk = drive.disk, .cd = drive.cd, .serial = drive.serial});
  if (drives.empty()) return Ok{};
  Fd event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!event) return Error{.code = Errc::io, .sys_errno = errno, .what = "eventfd"};
  doorbell_.emplace(vm_, std::move(event));
  const VirtioParts parts{
      .memory = memory_, .bus = board_->memory(), .messages = messages_, .doorbell = *doorbell_};
  OVHD_TRY(scsi_, ScsiController::open(drives, parts, doorbell_->event()));
  board_->pci().attach(Board::kScsiSlot, 0, scsi_->device());
  return Ok{};
}

Status Machine::add_ide(const MachineShape& shape) {
  for (const auto& drive : shape.drives) {
    if (drive.scsi) continue;
    const auto i = blocks_.size();
    if (board_->ide() == nullptr || i == kMostIde)
      return Error{.code = Errc::invalid, .what = "IDE: 4 drives in Generation 1, else none"};
    OVHD_TRY(auto block, QueueBlock::open(*drive.disk, lock_, drive.serial));
    std::unique_ptr<IdeDrive> model;
    if (drive.cd)
      model = std::make_unique<AtapiCd>(*block);
    else
      model = std::make_unique<AtaDisk>(*block);
    board_->ide()->channel(static_cast<unsigned>(i / 2)).insert(i % 2, std::move(model));
    blocks_.push_back(std::move(block));
  }
  return Ok{};
}

Status Machine::add_processors(const KvmHost& host, const MachineShape& shape, const Boot& boot) {
  if (shape.processors == 0 || shape.processors > std::min(kMaxProcessors, host.max_vcpus()))
    return Error{.code = Errc::invalid, .what = "more processors than this host or vhdvmm allows"};
  vcpus_.reserve(shape.processors);
  for (std::uint32_t id = 0; id < shape.processors; ++id) {
    OVHD_TRY(auto vcpu, Vcpu::create(host, vm_, {.id = id, .count = shape.processors}));
    vcpus_.push_back(std::move(vcpu));
  }
  return boot.kernel.empty() ? Status{Ok{}} : load(boot, vcpus_.front());
}

Status Machine::load(const Boot& boot, Vcpu& first) {
  OVHD_CHECK(board_->prepare_direct_boot(memory_));
  const LinuxBoot what{.kernel = boot.kernel,
                       .initrd = boot.initrd,
                       .command_line = boot.command_line,
                       .rsdp = kDirectTables};
  OVHD_TRY(const auto entry,
           is_elf(boot.kernel) ? load_elf(memory_, what) : load_linux(memory_, what));
  return first.start_flat({.entry = entry.entry, .ebx = entry.ebx, .esi = entry.esi});
}

void Machine::start() {
  all_started_.emplace(static_cast<std::ptrdiff_t>(vcpus_.size()) + 1);
  all_ended_.emplace(static_cast<std::ptrdiff_t>(vcpus_.size()));
  threads_.reserve(vcpus_.size());
  for (std::size_t i = 0; i < vcpus_.size(); ++i)
    threads_.emplace_back([this, i] { run_processor(i); });
  all_started_->arrive_and_wait();  // from here on threads_ does not change
}

void Machine::kick_all() noexcept {
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    vcpus_[i].kick();
    if (threads_[i].joinable()) ::pthread_kill(threads_[i].native_handle(), Vcpu::kick_signal());
  }
}

void Machine::end(End how, const std::string& detail) noexcept {
  if (!outcome_) outcome_ = Outcome{how, detail};
  stopping_ = true;
  const std::uint64_t one = 1;
  static_cast<void>(!::write(ended_.get(), &one, sizeof one));
}

void Machine::request(MachineEvent event) noexcept {
  switch (event) {
    case MachineEvent::reset:
      return end(End::reset, {});
    case MachineEvent::power_off:
      return end(End::power_off, {});
    case MachineEvent::panic:
      return end(End::panic, {});
  }
}

void Machine::stop() noexcept {
  {
    const std::lock_guard lock{lock_};
    end(End::stopped, {});
  }
  kick_all();
}

Machine::Outcome Machine::finish() {
  stop();  // the first outcome stands
  for (auto& thread : threads_) thread.join();
  threads_.clear();
  blocks_.clear();
  scsi_.reset();
  const std::lock_guard lock{lock_};
  return *outcome_;
}

void Machine::press_power_button() noexcept {
  const std::lock_guard lock{lock_};
  board_->pm().press_power_button();
}

std::size_t Machine::serial_space() noexcept {
  const std::lock_guard lock{lock_};
  return board_->uart().receive_space();
}

void Machine::serial_input(std::span<const std::byte> bytes) noexcept {
  const std::lock_guard lock{lock_};
  board_->uart().receive(bytes);
}

void Machine::serve_port(const Exit& exit) noexcept {
  const std::lock_guard lock{lock_};
  auto& ports = board_->ports();
  const auto port = static_cast<std::uint16_t>(exit.address);
  for (std::size_t at = 0; at + exit.width <= exit.data.size(); at += exit.width) {
    std::uint32_t value = 0;
    if (exit.write) {
      std::memcpy(&value, exit.data.data() + at, exit.width);
      ports.write(port, exit.width, value);
    } else {
      value = ports.read(port, exit.width);
      std::memcpy(exit.data.data() + at, &value, exit.width);
    }
  }
  if (!map_.failure()) end(End::stuck, describe(map_.failure().error(), "guest memory"));
}

void Machine::serve_memory(const Exit& exit) noexcept {
  const std::lock_guard lock{lock_};
  auto& bus = board_->memory();
  if (!exit.write) return bus.read({exit.address}, exit.data);
  bus.write({exit.address}, exit.data);
  map_.trapped_write({exit.address}, exit.data);
  if (!map_.failure()) end(End::stuck, describe(map_.failure().error(), "guest memory"));
}

// False: this processor does not go on.
bool Machine::serve(const Exit& exit) noexcept {
  switch (exit.kind) {
    case Exit::Kind::port:
      serve_port(exit);
      return true;
    case Exit::Kind::memory:
      serve_memory(exit);
      return true;
    case Exit::Kind::interrupted:
      return true;
    case Exit::Kind::triple_fault: {
      const std::lock_guard lock{lock_};
      end(End::triple_fault, {});
      return false;
    }
    default: {
      const std::lock_guard lock{lock_};
      end(End::stuck, stuck_text(exit));
      return false;
    }
  }
}

void Machine::run_processor(std::size_t index) noexcept {
  all_started_->arrive_and_wait();
  auto& vcpu = vcpus_[index];
  while (!stopping_) {
    const auto exit = vcpu.run();
    if (!exit) {
      const std::lock_guard lock{lock_};
      end(End::stuck, describe(exit.error(), "/dev/kvm"));
      break;
    }
    if (!serve(*exit)) break;
  }
  kick_all();
  all_ended_->arrive_and_wait();  // nobody is joined while another may still signal it
}

}  // namespace openvhd::vmm
