/// What opening makes of an image, and that it leaves it alone.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "support/bytes.hpp"
#include "vhdx/load_support.hpp"

namespace openvhd::test {

/// Opens the image for reading and for writing: it is refused for the rule `id`, or accepted where
/// that is empty, and no byte of it changes.
inline void expect_judged(const std::shared_ptr<MemoryStore>& store, const std::string& id) {
  MemoryFile file{store};
  const auto before = read_all(file);
  for (const bool writable : {false, true}) {
    const std::string why = refusal(store, writable);
    EXPECT_EQ(why.empty(), id.empty()) << why;
    EXPECT_TRUE(id.empty() || why.find(id + ")") != std::string::npos) << why;
  }
  EXPECT_EQ(read_all(file), before);
}

}  // namespace openvhd::test
