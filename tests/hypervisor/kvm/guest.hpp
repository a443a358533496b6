/// A machine of one processor and 4 MiB whose code a test writes byte by byte, in real mode.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "kvm/host.hpp"
#include "kvm/vcpu.hpp"
#include "kvm/vm.hpp"
#include "memory/guest_memory.hpp"

namespace openvhd::vmm::test {

inline std::vector<std::byte> code(std::initializer_list<unsigned> bytes) {
  std::vector<std::byte> out;
  for (const unsigned byte : bytes) out.push_back(static_cast<std::byte>(byte));
  return out;
}

/// Skips where the host has no /dev/kvm.
class KvmTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kEntry = 0x1000;

  void SetUp() override {
    auto opened = KvmHost::open();
    if (!opened && (opened.error().code == Errc::not_found || opened.error().code == Errc::denied))
      GTEST_SKIP() << describe(opened.error(), "/dev/kvm");
    ASSERT_TRUE(opened) << describe(opened.error(), "/dev/kvm");
    host_.emplace(*std::move(opened));
    auto memory = GuestMemory::create({.bytes = kMinMemory});
    ASSERT_TRUE(memory);
    memory_.emplace(*std::move(memory));
  }

  void make_vm(bool interrupt_chips) {
    auto vm = Vm::create(*host_, {.interrupt_chips = interrupt_chips});
    ASSERT_TRUE(vm) << describe(vm.error(), "vm");
    vm_.emplace(*std::move(vm));
    ASSERT_TRUE(vm_->map(0, {0}, memory_->low(), Vm::Mapping::writable));
  }

  Vcpu vcpu(std::uint32_t id, std::uint32_t count) {
    auto made = Vcpu::create(*host_, *vm_, {.id = id, .count = count});
    EXPECT_TRUE(made) << describe(made.error(), "vcpu");
    return *std::move(made);
  }

  std::optional<KvmHost> host_;
  std::optional<GuestMemory> memory_;
  std::optional<Vm> vm_;
};

}  // namespace openvhd::vmm::test
