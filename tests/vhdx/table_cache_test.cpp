// The cache of table pages by itself: what leaves it, and when its memory serves again.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "io/readers.hpp"
#include "vhdx/bat_cache.hpp"

namespace openvhd::test {
namespace {

/// Pages that hold their own number.
class VhdxTableCache : public testing::Test {
 protected:
  using Cache = vhdx::TableCache;
  static constexpr std::size_t kPages = 200;

  /// Loads a page, and tells where its bytes went.
  vhdx::TablePage* load(std::size_t number) {
    cache_.begin_call();
    auto step = cache_.get(homes_[number], {number * vhdx::kTablePageBytes}, false);
    if (auto* page = std::get_if<vhdx::TablePage*>(&step)) return *page;
    auto* command = std::get_if<IoCommand>(&step);
    if (command == nullptr) return nullptr;
    const std::uint64_t index = vhdx::token_index(command->token);
    auto* words = static_cast<std::uint64_t*>(command->buffers[0].iov_base);
    std::fill_n(words, vhdx::kTablePageWords, number);
    vhdx::TablePage* page = cache_.complete(index, vhdx::kTablePageBytes);
    if (page != nullptr) cache_.publish(*page);
    return page;
  }
  std::size_t in_memory() const {
    return static_cast<std::size_t>(std::count_if(
        homes_.begin(), homes_.end(), [](const auto& home) { return home.load() != nullptr; }));
  }

  Readers readers_;
  Cache cache_{0};
  std::array<vhdx::PageHome, kPages> homes_{};
};

TEST_F(VhdxTableCache, PagesThatALookUpMayHaveFoundKeepTheirBytes) {
  cache_.share(readers_);
  Readers::Slot& slot = *readers_.join();
  std::array<vhdx::TablePage*, Cache::kMinPages> found{};
  for (std::size_t i = 0; i < found.size(); ++i) found[i] = load(i);
  const unsigned side = slot.begin();
  for (std::size_t i = found.size(); i < 60; ++i) ASSERT_NE(load(i), nullptr) << "nobody waits";
  EXPECT_LE(in_memory(), Cache::kMinPages);
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(Cache::in_memory(homes_[i]), nullptr);
    EXPECT_EQ(found[i]->words[77].load(), i);
  }
  slot.end_look_up();
  slot.end_transfer(side);
  // Now their memory serves again.
  std::size_t again = 0;
  for (std::size_t i = 60; i < kPages; ++i) {
    const vhdx::TablePage* page = load(i);
    again += static_cast<std::size_t>(std::count(found.begin(), found.end(), page));
  }
  EXPECT_GT(again, 0u);
  EXPECT_LE(in_memory(), Cache::kMinPages);
}

TEST_F(VhdxTableCache, AReaderThatStaysAwayCostsNoMoreThanItsBound) {
  cache_.share(readers_);
  Readers::Slot& slot = *readers_.join();
  slot.begin();
  for (std::size_t i = 0; i < kPages; ++i) {
    vhdx::TablePage* page = load(i);
    ASSERT_NE(page, nullptr);
    ASSERT_EQ(page->words[0].load(), i);
  }
  EXPECT_GE(in_memory(), 100u) << "pages stay in sight rather than pile up out of it";
  slot.end_look_up();
  for (std::size_t i = 0; i < kPages; ++i) ASSERT_NE(load(i), nullptr);
  EXPECT_LE(in_memory(), Cache::kMinPages);
}

}  // namespace
}  // namespace openvhd::test
