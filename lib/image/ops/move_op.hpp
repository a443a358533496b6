/// Has a layer say that a block is elsewhere.
#pragma once

#include "image/chain.hpp"
#include "io/block_mover.hpp"
#include "io/io_command.hpp"

namespace openvhd {

/// Which block, from where to where; then whether it was there.
struct MovedBlock {
  BlockMover* mover = nullptr;
  FileOffset from{};
  FileOffset to{};
  bool moved = false;
};

/// BlockMover::move() on the leaf of a chain, as an operation.
class MoveOp final : public Operation {
 public:
  MoveOp(Chain& chain, VirtualOffset at, MovedBlock& block) noexcept
      : leaf_{chain.leaf()}, at_{at}, block_{block} {}

  std::optional<IoCommand> next() noexcept override {
    if (pending_ || finished_) return std::nullopt;
    auto step = block_.mover->move(at_, block_.from, block_.to);
    if (auto* command = std::get_if<IoCommand>(&step)) {
      pending_ = true;
      token_ = command->token;
      command->layer = 0;
      command->slot = 0;
      return *command;
    }
    if (const auto* error = std::get_if<Error>(&step)) finished_ = Status{*error};
    if (const auto* moved = std::get_if<bool>(&step)) {
      block_.moved = *moved;
      finished_ = Status{Ok{}};
    }
    return std::nullopt;
  }

  void complete(std::uint32_t, std::int32_t result) noexcept override {
    pending_ = false;
    leaf_.complete(token_, result);
  }

  std::optional<Status> finished() const noexcept override {
    return pending_ ? std::nullopt : finished_;
  }

 private:
  Layer& leaf_;
  VirtualOffset at_;
  MovedBlock& block_;
  bool pending_ = false;
  std::uint64_t token_ = 0;
  std::optional<Status> finished_;
};

}  // namespace openvhd
