#include "kvm/vcpu.hpp"

#include <sys/mman.h>

#include <atomic>
#include <csignal>
#include <new>
#include <utility>

#include "base/checked.hpp"
#include "kvm/abi.hpp"

namespace openvhd::vmm {
namespace {

void nothing(int) {}

kvm_segment flat_segment(std::uint16_t selector, std::uint8_t type) {
  kvm_segment segment{};
  segment.limit = 0xffff'ffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.db = 1;
  segment.s = 1;
  segment.g = 1;
  return segment;
}

Status set_registers(int fd, const kvm_sregs& segments, const kvm_regs& registers) noexcept {
  if (abi::call(fd, KVM_SET_SREGS, &segments) != 0) return abi::failed("KVM_SET_SREGS");
  if (abi::call(fd, KVM_SET_REGS, &registers) != 0) return abi::failed("KVM_SET_REGS");
  return Ok{};
}

}  // namespace

Result<Vcpu> Vcpu::create(const KvmHost& host, const Vm& vm, const VcpuPlace& place) {
  Fd file{abi::call(vm.descriptor(), KVM_CREATE_VCPU, place.id)};
  if (!file) return abi::failed("KVM_CREATE_VCPU");
  void* map = ::mmap(nullptr, host.run_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (map == MAP_FAILED) return abi::failed("mmap of a processor");
  Vcpu vcpu{std::move(file), {static_cast<std::byte*>(map), host.run_bytes()}};
  if (const auto done = set_cpuid(host, vcpu.file_.get(), place); !done) return done.error();
  return vcpu;
}

Vcpu::Vcpu(Fd file, std::span<std::byte> map) noexcept : file_{std::move(file)}, map_{map} {}
Vcpu::Vcpu(Vcpu&& other) noexcept
    : file_{std::move(other.file_)}, map_{std::exchange(other.map_, {})} {}
Vcpu::~Vcpu() {
  if (!map_.empty()) ::munmap(map_.data(), map_.size());
}

kvm_run& Vcpu::shared() noexcept {
  return *std::launder(reinterpret_cast<kvm_run*>(map_.data()));  // the kernel made it there
}

Status Vcpu::start_real_mode(GuestAddress at) noexcept {
  kvm_sregs segments{};
  if (abi::call(file_.get(), KVM_GET_SREGS, &segments) != 0) return abi::failed("KVM_GET_SREGS");
  segments.cs.base = 0;
  segments.cs.selector = 0;
  kvm_regs registers{};
  registers.rip = at.value;
  registers.rsp = 0x1000;
  registers.rflags = 2;
  return set_registers(file_.get(), segments, registers);
}

Status Vcpu::start_flat(const FlatStart& start) noexcept {
  kvm_sregs segments{};
  if (abi::call(file_.get(), KVM_GET_SREGS, &segments) != 0) return abi::failed("KVM_GET_SREGS");
  constexpr std::uint8_t kCode = 0xb;  // execute, read, accessed
  constexpr std::uint8_t kData = 0x3;  // read, write, accessed
  segments.cs = flat_segment(0x10, kCode);
  segments.ds = segments.es = segments.fs = segments.gs = segments.ss = flat_segment(0x18, kData);
  segments.cr0 |= 1;  // protection on
  kvm_regs registers{};
  registers.rip = start.entry.value;
  registers.rbx = start.ebx;
  registers.rsi = start.esi;
  registers.rflags = 2;
  return set_registers(file_.get(), segments, registers);
}

Result<Exit> Vcpu::run() noexcept {
  if (::ioctl(file_.get(), KVM_RUN, 0) != 0) {
    if (errno != EINTR && errno != EAGAIN) return abi::failed("KVM_RUN");
    std::atomic_ref{shared().immediate_exit}.store(0, std::memory_order_relaxed);
    return Exit{.kind = Exit::Kind::interrupted};
  }
  kvm_run& run = shared();
  Exit exit{};
  switch (run.exit_reason) {
    case KVM_EXIT_IO: {
      const auto bytes = std::uint64_t{run.io.size} * run.io.count;
      if (!range_fits(run.io.data_offset, bytes, map_.size()))
        return Error{.code = Errc::io, .what = "KVM_RUN: data outside the shared area"};
      return Exit{.kind = Exit::Kind::port,
                  .write = run.io.direction == KVM_EXIT_IO_OUT,
                  .width = run.io.size,
                  .address = run.io.port,
                  .data = map_.subspan(run.io.data_offset, bytes)};
    }
    case KVM_EXIT_MMIO:
      return Exit{.kind = Exit::Kind::memory,
                  .write = run.mmio.is_write != 0,
                  .width = run.mmio.len,
                  .address = run.mmio.phys_addr,
                  .data = std::as_writable_bytes(std::span{run.mmio.data}).first(run.mmio.len)};
    case KVM_EXIT_HLT:
      exit.kind = Exit::Kind::halted;
      return exit;
    case KVM_EXIT_SHUTDOWN:
      exit.kind = Exit::Kind::triple_fault;
      return exit;
    case KVM_EXIT_INTR:
      exit.kind = Exit::Kind::interrupted;
      return exit;
    case KVM_EXIT_INTERNAL_ERROR:
      exit.kind = Exit::Kind::not_emulated;
      exit.detail = run.internal.suberror;
      return exit;
    case KVM_EXIT_FAIL_ENTRY:
      exit.kind = Exit::Kind::not_entered;
      exit.detail = run.fail_entry.hardware_entry_failure_reason;
      return exit;
    default:
      exit.kind = Exit::Kind::other;
      exit.detail = run.exit_reason;
      return exit;
  }
}

void Vcpu::kick() noexcept {
  std::atomic_ref{shared().immediate_exit}.store(1, std::memory_order_relaxed);
}

int Vcpu::kick_signal() noexcept { return SIGRTMIN; }

Status Vcpu::prepare_kicks() noexcept {
  struct sigaction action{};
  action.sa_handler = nothing;
  if (::sigaction(kick_signal(), &action, nullptr) != 0) return abi::failed("sigaction");
  return Ok{};
}

}  // namespace openvhd::vmm
