/// Opening in tests: what came out of it, in one line.
#pragma once

#include <memory>
#include <string>

#include "support/fixed_host.hpp"
#include "support/memory_file.hpp"
#include "vhdx/load.hpp"

namespace openvhd::test {

inline Result<vhdx::LoadedImage> load(const std::shared_ptr<MemoryStore>& store,
                                      bool writable = false) {
  FixedHost host;
  return vhdx::load_image(
      std::make_unique<MemoryFile>(store, MemoryFile::Options{.writable = writable}), writable,
      host);
}

/// Empty when the image is accepted.
inline std::string refusal(const std::shared_ptr<MemoryStore>& store, bool writable = false) {
  const auto loaded = load(store, writable);
  return loaded ? std::string{} : std::string{loaded.error().what};
}

}  // namespace openvhd::test
