/// The layers that make one disk, as operations see them: the leaf first.
#pragma once

#include <cstdint>
#include <vector>

#include "io/layer.hpp"

namespace openvhd {

class WriteNotes;

/// Borrowed layers, the leaf first. Not thread safe: it belongs to whoever drives the layers.
class Chain {
 public:
  /// `complete` is false when the last layer has a parent that was not opened: what it would
  /// answer then fails to read.
  Chain(std::vector<Layer*> layers, bool complete) noexcept
      : layers_{std::move(layers)}, complete_{complete} {}

  std::uint32_t depth() const noexcept { return static_cast<std::uint32_t>(layers_.size()); }
  Layer& layer(std::uint32_t index) const noexcept { return *layers_[index]; }
  Layer& leaf() const noexcept { return *layers_.front(); }
  const Geometry& geometry() const noexcept { return layers_.front()->geometry(); }
  bool complete() const noexcept { return complete_; }

  /// Where those that change the disk have to say so; null: nowhere.
  WriteNotes* write_notes() const noexcept { return notes_; }
  void note_writes(WriteNotes* notes) noexcept { notes_ = notes; }

 private:
  std::vector<Layer*> layers_;
  bool complete_;
  WriteNotes* notes_ = nullptr;
};

/// Whether a request is one that a layer can be asked: inside the disk, whole logical sectors.
inline Status check_request(const Geometry& geometry, VirtualOffset at, std::uint64_t length) {
  if (at.value > geometry.virtual_size || length > geometry.virtual_size - at.value) {
    return Error{.code = Errc::out_of_range, .what = "request beyond the end of the disk"};
  }
  if (at.value % geometry.logical_sector_size != 0 || length % geometry.logical_sector_size != 0) {
    return Error{.code = Errc::misaligned, .what = "request in parts of a logical sector"};
  }
  return Ok{};
}

}  // namespace openvhd
