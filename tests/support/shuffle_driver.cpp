#include "support/shuffle_driver.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace openvhd::test {
namespace {

constexpr std::uint64_t kSector = 512;

bool all_finished(std::span<Operation* const> operations) {
  return std::ranges::all_of(operations, [](Operation* op) { return op->finished().has_value(); });
}

}  // namespace

std::vector<Status> ShuffleDriver::run(std::span<Operation* const> operations) {
  while (!all_finished(operations)) {
    gather(operations);
    if (in_flight_.empty()) {
      if (all_finished(operations)) break;
      std::fputs("operations wait for each other for ever\n", stderr);
      std::abort();
    }
    complete_one();
  }
  std::vector<Status> out;
  for (Operation* op : operations) out.push_back(*op->finished());
  return out;
}

void ShuffleDriver::gather(std::span<Operation* const> operations) {
  for (Operation* op : operations) {
    while (!op->finished()) {
      const auto command = op->next();
      if (!command) break;
      in_flight_.push_back({op, *command});
    }
  }
  most_in_flight_ = std::max(most_in_flight_, in_flight_.size());
}

void ShuffleDriver::complete_one() {
  const std::size_t drawn = random_() % in_flight_.size();
  const InFlight chosen = in_flight_[drawn];
  in_flight_.erase(in_flight_.begin() + static_cast<std::ptrdiff_t>(drawn));
  chosen.operation->complete(chosen.command.slot, execute(chosen.command));
}

std::int32_t ShuffleDriver::execute(const IoCommand& command) {
  File& file = *files_[command.layer];
  const bool moves =
      command.kind == IoCommand::Kind::read || command.kind == IoCommand::Kind::write;
  // A layer's own commands carry a token, and a layer may count on whole transfers of metadata
  // no more than an operation may; but the host never cuts inside a sector.
  if (!moves || !short_transfers_ || command.length <= kSector || random_() % 2 == 0) {
    return file.execute(command);
  }
  const std::uint64_t length = kSector * (1 + random_() % (command.length / kSector));
  std::vector<iovec> cut;
  std::uint64_t left = std::min(length, command.length);
  IoCommand part = command;
  part.length = left;
  for (const iovec& buffer : command.buffers) {
    if (left == 0) break;
    cut.push_back({buffer.iov_base, std::min<std::size_t>(buffer.iov_len, left)});
    left -= cut.back().iov_len;
  }
  part.buffers = cut;
  return file.execute(part);
}

}  // namespace openvhd::test
