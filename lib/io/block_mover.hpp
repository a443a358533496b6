/// Moving blocks of a file that is in use, one at a time.
#pragma once

#include <cstdint>
#include <openvhd/error.hpp>
#include <openvhd/types.hpp>
#include <optional>

#include "io/layer.hpp"

namespace openvhd {

/// A layer that can move its blocks. The owner's, but for what the copying itself does. In this
/// order: nobody begins another change of the block through the owner; hide(); once over() says
/// so, nobody is on the way to the old place any more with a write; the block is copied to a place
/// of claim(); move(); show().
class BlockMover {
 public:
  /// From now on find_writable() does not answer for the block that `at` lies in, and nobody keeps
  /// where it is. Returns what over() is to be asked with.
  virtual std::uint64_t hide(VirtualOffset at) noexcept = 0;
  virtual void show() noexcept = 0;
  /// Every change and transfer from before is over, and bitmaps say all of it.
  virtual bool over(std::uint64_t asked) noexcept = 0;

  /// Space for one block that nobody owns, the first in the file, which ends at `below` at most. It
  /// may hold anything. Not before the layer was changed once, so that all owners are known.
  virtual std::optional<FileOffset> claim(FileOffset below) noexcept = 0;
  virtual void give_back(FileOffset at) noexcept = 0;

  /// The block at `at` is at `to` from now on, if it was at `from`; durable with the next flush,
  /// which makes its data durable first. False: it was not, and `to` is nobody's.
  virtual Step<bool> move(VirtualOffset at, FileOffset from, FileOffset to) noexcept = 0;

 protected:
  ~BlockMover() = default;
};

}  // namespace openvhd
