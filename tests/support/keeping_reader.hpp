/// Look-ups as a queue makes them: what was found of whole blocks is kept.
#pragma once

#include "io/block_places.hpp"
#include "io/layer.hpp"

namespace openvhd::test {

/// One thread's. Every call lies inside a look-up and a transfer of Readers.
class KeepingReader {
 public:
  explicit KeepingReader(Layer& layer) : layer_{layer} { places_.open(layer); }

  bool find(VirtualOffset at, std::uint64_t length, Extent& extent) {
    return (places_.look(at, length, extent.at) && kept(length, extent)) ||
           ask(&Layer::find, at, length, extent);
  }
  bool find_writable(VirtualOffset at, std::uint64_t length, Extent& extent) {
    return (places_.look_writable(at, length, extent.at) && kept(length, extent)) ||
           ask(&Layer::find_writable, at, length, extent);
  }
  /// How many answers came from what was kept.
  std::uint64_t kept_answers() const { return kept_; }

 private:
  bool kept(std::uint64_t length, Extent& extent) {
    extent.kind = Extent::Kind::data;
    extent.length = length;
    extent.whole_block = true;
    ++kept_;
    return true;
  }
  bool ask(bool (Layer::*question)(VirtualOffset, std::uint64_t, Extent&) noexcept,
           VirtualOffset at, std::uint64_t length, Extent& extent) {
    const std::uint64_t moves = places_.moves();
    if (!(layer_.*question)(at, length, extent)) return false;
    if (extent.whole_block) places_.keep(at, extent.at, moves);
    return true;
  }

  Layer& layer_;
  BlockPlaces places_;
  std::uint64_t kept_ = 0;
};

}  // namespace openvhd::test
