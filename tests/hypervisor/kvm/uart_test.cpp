// A guest of a few bytes that talks to the UART model, as the machine will wire it.
#include "chipset/uart.hpp"

#include "hypervisor/chipset/parts.hpp"
#include "hypervisor/kvm/guest.hpp"

namespace openvhd::vmm {
namespace {

using test::code;
using test::KvmTest;

TEST_F(KvmTest, AGuestPrintsOverTheUart) {
  make_vm(false);
  // mov si,2000; l: lodsb; or al,al; jz end; mov ah,al; mov dx,3fd; w: in al,dx; test al,20; jz w;
  // mov al,ah; mov dx,3f8; out dx,al; jmp l; end: hlt
  ASSERT_TRUE(memory_->write(
      {kEntry},
      code({0xbe, 0x00, 0x20, 0xac, 0x08, 0xc0, 0x74, 0x12, 0x88, 0xc4, 0xba, 0xfd, 0x03, 0xec,
            0xa8, 0x20, 0x74, 0xfb, 0x88, 0xe0, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xe9, 0xf4})));
  const std::string text = "the guest says hello\r\n";
  ASSERT_TRUE(memory_->write({0x2000}, std::as_bytes(std::span{text})));
  test::FakeLine line;
  test::TextSink sink;
  Uart uart{line, sink};
  PortBus bus;
  bus.attach(0x3f8, Uart::kPorts, uart);
  auto cpu = vcpu(0, 1);
  ASSERT_TRUE(cpu.start_real_mode({kEntry}));
  for (unsigned exits = 0; exits < 1000; ++exits) {
    const auto exit = cpu.run();
    ASSERT_TRUE(exit);
    if (exit->kind == Exit::Kind::halted) break;
    ASSERT_EQ(exit->kind, Exit::Kind::port);
    const auto port = static_cast<std::uint16_t>(exit->address);
    if (exit->write)
      bus.write(port, 1, std::to_integer<std::uint32_t>(exit->data[0]));
    else
      exit->data[0] = static_cast<std::byte>(bus.read(port, 1));
  }
  EXPECT_EQ(sink.text, text);
}

}  // namespace
}  // namespace openvhd::vmm
