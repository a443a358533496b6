/// Tests over images that other programs wrote, and damaged copies of them. Skipped where the
/// corpus, or zstd to unpack it with, is not there.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <openvhd/types.hpp>
#include <string>

#include "support/memory_file.hpp"

namespace openvhd::test {

class CorpusTest : public testing::Test {
 protected:
  using Json = nlohmann::json;
  using Body = std::function<void(const Json& entry, const std::shared_ptr<MemoryStore>& store)>;

  void SetUp() override;

  /// Every entry that is to be treated like this: "opens", "must be rejected", "either". VHDX are
  /// those with that ending, all others are the VHD reader's. There must be some.
  void for_each(Format format, const std::string& expectation, const Body& body);

 private:
  Json entries_;
};

}  // namespace openvhd::test
