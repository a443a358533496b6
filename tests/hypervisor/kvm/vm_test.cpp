#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "hypervisor/kvm/guest.hpp"

namespace openvhd::vmm {
namespace {

using test::code;
using test::KvmTest;
using Kind = Exit::Kind;

bool is_signalled(const Fd& event, int wait_ms = 0) {
  pollfd poll{.fd = event.get(), .events = POLLIN, .revents = 0};
  return ::poll(&poll, 1, wait_ms) == 1;
}

TEST_F(KvmTest, PortAccessesComeBackToUs) {
  make_vm(false);
  // mov dx,3fd; in al,dx; add al,1; mov dx,3f8; out dx,al; hlt
  ASSERT_TRUE(memory_->write(
      {kEntry}, code({0xba, 0xfd, 0x03, 0xec, 0x04, 0x01, 0xba, 0xf8, 0x03, 0xee, 0xf4})));
  auto cpu = vcpu(0, 1);
  ASSERT_TRUE(cpu.start_real_mode({kEntry}));
  auto exit = cpu.run();
  ASSERT_TRUE(exit);
  ASSERT_EQ(exit->kind, Kind::port);
  EXPECT_FALSE(exit->write);
  EXPECT_EQ(exit->address, 0x3fdU);
  ASSERT_EQ(exit->data.size(), 1U);
  exit->data[0] = std::byte{0x41};
  exit = cpu.run();
  ASSERT_TRUE(exit);
  ASSERT_EQ(exit->kind, Kind::port);
  EXPECT_TRUE(exit->write);
  EXPECT_EQ(exit->address, 0x3f8U);
  EXPECT_EQ(exit->data[0], std::byte{0x42});
  exit = cpu.run();
  ASSERT_TRUE(exit);
  EXPECT_EQ(exit->kind, Kind::halted);
}

TEST_F(KvmTest, WritesToReadOnlyMemoryComeBackAndChangeNothing) {
  make_vm(false);
  auto rom = GuestMemory::create({.bytes = kMinMemory});
  ASSERT_TRUE(rom);
  rom->low()[0x10] = std::byte{0x77};
  ASSERT_TRUE(vm_->unmap(0));
  ASSERT_TRUE(vm_->map(0, {0}, memory_->low().first(0xa0000), Vm::Mapping::writable));
  ASSERT_TRUE(vm_->map(1, {0xf0000}, rom->low().first(0x10000), Vm::Mapping::read_only));
  // mov ax,f000; mov ds,ax; mov al,[10]; inc al; mov [10],al; mov al,[10]; out 80,al; hlt
  ASSERT_TRUE(
      memory_->write({kEntry}, code({0xb8, 0x00, 0xf0, 0x8e, 0xd8, 0xa0, 0x10, 0x00, 0xfe, 0xc0,
                                     0xa2, 0x10, 0x00, 0xa0, 0x10, 0x00, 0xe6, 0x80, 0xf4})));
  auto cpu = vcpu(0, 1);
  ASSERT_TRUE(cpu.start_real_mode({kEntry}));
  auto exit = cpu.run();
  ASSERT_TRUE(exit);
  ASSERT_EQ(exit->kind, Kind::memory);
  EXPECT_TRUE(exit->write);
  EXPECT_EQ(exit->address, 0xf0010U);
  EXPECT_EQ(exit->data[0], std::byte{0x78});
  exit = cpu.run();
  ASSERT_TRUE(exit);
  ASSERT_EQ(exit->kind, Kind::port);
  EXPECT_EQ(exit->data[0], std::byte{0x77});
  EXPECT_EQ(rom->low()[0x10], std::byte{0x77});
}

TEST_F(KvmTest, AnIoEventStaysInTheKernel) {
  make_vm(false);
  const Fd event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  const IoEvent what{.at = {0x501}, .width = 1, .port = true, .match = true, .value = 7};
  ASSERT_TRUE(vm_->io_event(what, event, true));
  // mov dx,501; mov al,7; out dx,al; mov al,8; out dx,al; hlt
  ASSERT_TRUE(
      memory_->write({kEntry}, code({0xba, 0x01, 0x05, 0xb0, 0x07, 0xee, 0xb0, 0x08, 0xee, 0xf4})));
  auto cpu = vcpu(0, 1);
  ASSERT_TRUE(cpu.start_real_mode({kEntry}));
  const auto exit = cpu.run();
  ASSERT_TRUE(exit);
  ASSERT_EQ(exit->kind, Kind::port);
  EXPECT_EQ(exit->data[0], std::byte{8}) << "the matching write must not come back";
  EXPECT_TRUE(is_signalled(event));
  EXPECT_TRUE(vm_->io_event(what, event, false));
}

TEST_F(KvmTest, ALineEventInterruptsTheGuest) {
  make_vm(true);
  const Fd event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  ASSERT_TRUE(vm_->line_event(4, event, true));
  // The PIC's set-up with base 20h, all but line 4 masked; then wait for the handler's port write.
  ASSERT_TRUE(memory_->write({kEntry}, code({0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x20, 0xe6, 0x21, 0xb0,
                                             0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21, 0xb0, 0xef,
                                             0xe6, 0x21, 0xe6, 0x81, 0xfb, 0xf4, 0xeb, 0xfd})));
  ASSERT_TRUE(memory_->write({0x24 * 4}, code({0x00, 0x20, 0x00, 0x00})));  // handler at 2000h
  ASSERT_TRUE(memory_->write({0x2000}, code({0xb0, 0x99, 0xe6, 0x80, 0xf4})));
  auto cpu = vcpu(0, 1);
  ASSERT_TRUE(cpu.start_real_mode({kEntry}));
  auto exit = cpu.run();
  ASSERT_TRUE(exit);
  ASSERT_EQ(exit->kind, Kind::port);
  ASSERT_EQ(exit->address, 0x81U) << "the guest is ready";
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(event.get(), &one, sizeof one), 8);
  exit = cpu.run();
  ASSERT_TRUE(exit);
  ASSERT_EQ(exit->kind, Kind::port);
  EXPECT_EQ(exit->address, 0x80U);
  EXPECT_EQ(exit->data[0], std::byte{0x99});
}

TEST_F(KvmTest, AKickEndsAGuestThatNeverDoes) {
  make_vm(true);
  ASSERT_TRUE(Vcpu::prepare_kicks());
  ASSERT_TRUE(memory_->write({kEntry}, code({0xeb, 0xfe})));  // jmp to itself
  auto cpu = vcpu(0, 1);
  ASSERT_TRUE(cpu.start_real_mode({kEntry}));
  std::atomic<bool> ended = false;
  std::thread runner{[&] {
    const auto exit = cpu.run();
    EXPECT_TRUE(exit && exit->kind == Kind::interrupted);
    ended = true;
  }};
  std::this_thread::sleep_for(std::chrono::milliseconds{20});
  EXPECT_FALSE(ended);
  cpu.kick();
  ASSERT_EQ(::pthread_kill(runner.native_handle(), Vcpu::kick_signal()), 0);
  runner.join();
  EXPECT_TRUE(ended);
}

TEST_F(KvmTest, TwoProcessorsRunInTwoThreads) {
  make_vm(false);
  // Each adds one to its own word until both have run: lock inc word [2000]; then wait for 2.
  ASSERT_TRUE(memory_->write({kEntry}, code({0xf0, 0xff, 0x06, 0x00, 0x20, 0x83, 0x3e, 0x00, 0x20,
                                             0x02, 0x75, 0xf9, 0xf4})));
  auto first = vcpu(0, 2);
  auto second = vcpu(1, 2);
  const auto run = [](Vcpu& cpu) {
    const auto exit = cpu.run();
    EXPECT_TRUE(exit && exit->kind == Kind::halted);
  };
  ASSERT_TRUE(first.start_real_mode({kEntry}));
  ASSERT_TRUE(second.start_real_mode({kEntry}));
  std::thread one{[&] { run(first); }};
  std::thread two{[&] { run(second); }};
  one.join();
  two.join();
  EXPECT_EQ(memory_->low()[0x2000], std::byte{2});
}

TEST_F(KvmTest, InstructionsAreTimed) {
  const auto ns = instruction_ns(*host_);
  ASSERT_TRUE(ns) << describe(ns.error(), "kvm");
  EXPECT_GT(*ns, 0.01);
  EXPECT_LT(*ns, 1e6);
}

}  // namespace
}  // namespace openvhd::vmm
