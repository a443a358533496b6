/// Reads a range of a disk through its chain of layers.
#pragma once

#include "image/ops/chain_op.hpp"

namespace openvhd {

/// A read through a chain. Does no I/O, owns no thread, never allocates. The buffers and the
/// chain outlive it. Fails with out_of_range or misaligned before anything is asked; with what a
/// layer or the host said otherwise. Buffers then hold anything.
class ReadOp final : public ChainOp {
 public:
  ReadOp(Chain& chain, VirtualOffset at, std::span<const iovec> into) noexcept;

  std::optional<IoCommand> next() noexcept override;

 private:
  struct Transfer {
    std::uint32_t layer = 0;
    FileOffset at{};
    std::uint64_t offset = 0;  // in the request
    std::uint64_t left = 0;
    BufferSlice slice;
  };

  void transferred(std::uint32_t slot, std::int32_t result) noexcept override;
  std::optional<IoCommand> take(const Extent& extent, std::uint32_t slot) noexcept;
  IoCommand command_for(std::uint32_t slot) noexcept;
  void absent(const Extent& extent) noexcept;
  void fill_zero(std::uint64_t length) noexcept;
  void to_leaf() noexcept;

  std::span<const iovec> into_;
  std::uint32_t layer_ = 0;  // whom to ask about the cursor
  std::uint64_t limit_ = 0;  // how far the answers of the layers above reach
  std::array<Transfer, kTransferSlots> transfers_;
};

}  // namespace openvhd
