#include "image/convert/fake_endpoint.hpp"

#include <algorithm>
#include <cstring>

namespace openvhd::test {

FakeEndpoint::FakeEndpoint(std::vector<std::byte> bytes) : bytes_{std::move(bytes)} {
  traits_.size = bytes_.size();
}

Result<EndpointRun> FakeEndpoint::map(VirtualOffset at, std::uint64_t length) noexcept {
  const auto next = runs_.upper_bound(at.value);
  const bool zero = next != runs_.begin() && std::prev(next)->second;
  const std::uint64_t end = next == runs_.end() ? traits_.size : next->first;
  return EndpointRun{.length = std::min(length, end - at.value), .zero = zero};
}

void FakeEndpoint::start(Transfer& transfer) noexcept {
  const std::uint64_t end = transfer.at.value + transfer.length;
  const bool aligned = transfer.at.value % traits_.alignment == 0 &&
                       (end % traits_.alignment == 0 || end == traits_.size);
  const bool zero = transfer.kind == Transfer::Kind::zero;
  const std::uint64_t most =
      zero ? traits_.max_zero : traits_.max_transfer + 2 * std::uint64_t{traits_.alignment};
  const bool short_enough = transfer.length <= most;
  const bool allowed = !zero || traits_.zeros == ZeroPolicy::clear;
  if (!aligned || !short_enough || !allowed || end > traits_.size || transfer.length == 0) {
    ++violations_;
  }
  if (transfer.kind == Transfer::Kind::write) write_starts_.push_back(transfer.at.value);
  if (started_++ == fail_at_) transfer.failure = failure_;
  pending_.push_back(&transfer);
  most_in_flight_ = std::max(most_in_flight_, pending_.size());
  quiet_ = static_cast<unsigned>(random_() % 4);
}

void FakeEndpoint::execute(Transfer& transfer) {
  std::byte* const here = bytes_.data() + transfer.at.value;
  switch (transfer.kind) {
    case Transfer::Kind::read:
      std::memcpy(transfer.data, here, transfer.length);
      bytes_read_ += transfer.length;
      break;
    case Transfer::Kind::write:
      std::memcpy(here, transfer.data, transfer.length);
      bytes_written_ += transfer.length;
      break;
    case Transfer::Kind::zero:
      std::fill_n(here, transfer.length, std::byte{0});
      bytes_zeroed_ += transfer.length;
      break;
  }
}

Transfer* FakeEndpoint::reap() noexcept {
  if (pending_.empty()) return nullptr;
  if (quiet_ > 0) {
    --quiet_;
    return nullptr;
  }
  const std::size_t which = random_() % pending_.size();
  Transfer* const transfer = pending_[which];
  pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(which));
  if (!transfer->failure) execute(*transfer);
  return transfer;
}

std::vector<std::byte> pattern(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random{seed};
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; i += sizeof(std::uint64_t)) {
    const std::uint64_t word = random() | 1;
    std::memcpy(bytes.data() + i, &word, std::min(sizeof(word), size - i));
  }
  return bytes;
}

}  // namespace openvhd::test
