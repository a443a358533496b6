// Any accesses: only the content changes, a bit is set by an erase alone, and what the guest sees
// as an array is what is kept.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "chipset/flash.hpp"

namespace {

using namespace openvhd::vmm;

struct Host : FlashHost {
  void show_array(bool array) noexcept override { shown = array; }
  bool keep(std::uint64_t offset, std::uint64_t bytes) noexcept override {
    if (offset + bytes > content->size()) std::abort();
    std::memcpy(copy.data() + offset, content->data() + offset, bytes);
    return true;
  }
  bool shown = true;
  std::vector<std::byte>* content = nullptr;
  std::vector<std::byte> copy;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::byte> content(2 * Flash::kBlock, std::byte{0x3c});
  Host host;
  host.content = &content;
  host.copy = content;
  Flash flash{content, host};
  MemoryBus bus;
  bus.attach({0x1000}, content.size(), flash);
  for (; size >= 4; data += 4, size -= 4) {
    const openvhd::vmm::GuestAddress at{
        0x1000 + (data[1] | static_cast<std::uint64_t>(data[2] & 0x3f) << 8)};
    std::array<std::byte, 16> bytes{};
    bytes.fill(std::byte{data[3]});
    const auto width = static_cast<std::size_t>(data[0] >> 4);
    if ((data[0] & 1) != 0)
      bus.write(at, std::span{bytes}.first(width));
    else
      bus.read(at, std::span{bytes}.first(width));
    if (host.shown && content != host.copy) std::abort();
  }
  return 0;
}
