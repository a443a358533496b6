#include "io/block_places.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "base/checked.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kBlock = 2 * kMiB;

/// A layer of which only geometry and terms are asked.
class Terms final : public Layer {
 public:
  explicit Terms(std::uint64_t size, std::uint32_t block = kBlock) {
    geometry_.virtual_size = size;
    geometry_.block_size = block;
  }
  std::shared_ptr<AnswerTerms> kept = std::make_shared<AnswerTerms>();
  AnswerTerms& said = *kept;
  bool gives_terms = true;

  const Geometry& geometry() const noexcept override { return geometry_; }
  std::shared_ptr<const AnswerTerms> terms() const noexcept override {
    return gives_terms ? kept : nullptr;
  }
  Step<Extent> locate(VirtualOffset, std::uint64_t) noexcept override { return Wait{}; }
  Step<Extent> place(VirtualOffset, std::uint64_t) noexcept override { return Wait{}; }
  void wrote(VirtualOffset, const Extent&) noexcept override {}
  Step<Cleared> clear(VirtualOffset, std::uint64_t, ClearKind) noexcept override { return Wait{}; }
  Step<Ok> flush(FlushTicket&) noexcept override { return Wait{}; }
  Step<Ok> close(FlushTicket&) noexcept override { return Wait{}; }
  void complete(std::uint64_t, std::int32_t) noexcept override {}
  void enter(OperationTicket&) noexcept override {}
  void leave(OperationTicket&) noexcept override {}

 private:
  Geometry geometry_;
};

std::optional<std::uint64_t> look(const BlockPlaces& places, std::uint64_t at,
                                  std::uint64_t length) {
  FileOffset found;
  return places.look({at}, length, found) ? std::optional{found.value} : std::nullopt;
}

TEST(BlockPlaces, AnswersForTheWholeBlockThatAnAnswerLiesIn) {
  const Terms layer{64 * kBlock};
  BlockPlaces places;
  places.open(layer);
  places.keep({3 * kBlock + 4096}, {10 * kMiB + 4096}, places.moves());
  EXPECT_EQ(look(places, 3 * kBlock, 512), 10 * kMiB);
  EXPECT_EQ(look(places, 4 * kBlock - 512, 512), 10 * kMiB + kBlock - 512);
  EXPECT_EQ(look(places, 3 * kBlock, kBlock), 10 * kMiB);
  EXPECT_EQ(look(places, 3 * kBlock + 512, kBlock), std::nullopt) << "ends in the next block";
  EXPECT_EQ(look(places, 2 * kBlock, 512), std::nullopt);
  EXPECT_EQ(look(places, 4 * kBlock, 512), std::nullopt);
}

TEST(BlockPlaces, AnEmptyRangeAndOneThatReachesBeyondTheDiskAreNotAnswered) {
  const Terms layer{3 * kBlock + kMiB};
  BlockPlaces places;
  places.open(layer);
  for (std::uint64_t block = 0; block < 4; ++block)
    places.keep({block * kBlock}, {block * kBlock}, places.moves());
  EXPECT_EQ(look(places, 2 * kBlock, kBlock), 2 * kBlock);
  EXPECT_EQ(look(places, 2 * kBlock, 0), std::nullopt);
  EXPECT_EQ(look(places, 3 * kBlock, 512), std::nullopt) << "a block that ends beyond the disk";
  EXPECT_EQ(look(places, ~std::uint64_t{511}, 512), std::nullopt);
  EXPECT_EQ(look(places, 0, ~std::uint64_t{511}), std::nullopt);
}

TEST(BlockPlaces, ForgetsWhenSomethingMoved) {
  Terms layer{64 * kBlock};
  BlockPlaces places;
  places.open(layer);
  const std::uint64_t before = places.moves();
  places.keep({0}, {kMiB}, before);
  layer.said.moves.fetch_add(1);
  EXPECT_EQ(look(places, 0, 512), std::nullopt);
  places.keep({0}, {kMiB}, before);
  EXPECT_EQ(look(places, 0, 512), std::nullopt) << "found before the move";
  places.keep({0}, {5 * kMiB}, places.moves());
  EXPECT_EQ(look(places, 0, 512), 5 * kMiB);
}

TEST(BlockPlaces, WritesNeedTheLayersLeave) {
  Terms layer{64 * kBlock};
  BlockPlaces places;
  places.open(layer);
  places.keep({0}, {kMiB}, places.moves());
  FileOffset found;
  EXPECT_FALSE(places.look_writable({0}, 512, found));
  layer.said.may_overwrite = true;
  EXPECT_TRUE(places.look_writable({0}, 512, found));
  EXPECT_EQ(found.value, kMiB);
}

TEST(BlockPlaces, BlocksThatShareAPlaceDisplaceEachOtherAndAreNotMistaken) {
  const Terms layer{64 * kTiB, kMiB};
  BlockPlaces places;
  places.open(layer);
  const std::uint64_t last = 64 * kTiB - kMiB;
  for (std::uint64_t at = last; at > kMiB; at /= 2) {
    const std::uint64_t block = at / kMiB * kMiB;
    places.keep({block}, {block + kGiB}, places.moves());
    EXPECT_EQ(look(places, block, kMiB), block + kGiB);
  }
  places.keep({last % (16384 * kMiB)}, {kMiB}, places.moves());
  EXPECT_EQ(look(places, last, 512), std::nullopt);
}

TEST(BlockPlaces, KeepsNothingWhereThereIsNothingToHoldOnTo) {
  Terms fixed{64 * kBlock, 0};
  Terms silent{64 * kBlock};
  silent.gives_terms = false;
  Terms odd{64 * kBlock, 3 * 512};
  for (const Terms* layer : {&fixed, &silent, &odd}) {
    BlockPlaces places;
    places.open(*layer);
    places.keep({0}, {kMiB}, places.moves());
    EXPECT_EQ(look(places, 0, 512), std::nullopt);
  }
  BlockPlaces closed;
  closed.keep({0}, {kMiB}, closed.moves());
  EXPECT_EQ(look(closed, 0, 512), std::nullopt);
}

}  // namespace
}  // namespace openvhd
