#include "support/fixed_host.hpp"

namespace openvhd::test {

Guid FixedHost::random_guid() noexcept {
  Guid guid;
  for (std::size_t i = 0; i < guid.bytes.size(); ++i) {
    // xorshift64*, made odd so that a seed of 0 works too
    state_ |= 1;
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    guid.bytes[i] = static_cast<std::uint8_t>((state_ * 0x2545f4914f6cdd1dULL) >> 56);
  }
  guid.bytes[6] = static_cast<std::uint8_t>((guid.bytes[6] & 0x0f) | 0x40);
  guid.bytes[8] = static_cast<std::uint8_t>((guid.bytes[8] & 0x3f) | 0x80);
  return guid;
}

}  // namespace openvhd::test
