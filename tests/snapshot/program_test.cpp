// Random programs over chains: every live disk reads as a flat model says, at each place where
// power is lost in the middle of a step and after each (T10).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <random>

#include "snapshot/chain_world.hpp"
#include "snapshot/merge_record.hpp"
#include "snapshot/merge_run.hpp"
#include "snapshot/sim_chain.hpp"
#include "support/bytes.hpp"

namespace openvhd::test {
namespace {

/// A number that the environment gives, for longer runs.
std::uint64_t number(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

struct Run {
  const char* name;
  Format format;
  std::uint32_t sector;
  unsigned programs;  // by default
};

class ChainProgram : public testing::TestWithParam<Run> {};

// OPENVHD_CHAIN_PROGRAMS: of each test; OPENVHD_CHAIN_CUTS: of each step, 0 for all there are;
// OPENVHD_SEED: of the first program.
TEST_P(ChainProgram, EveryLiveDiskReadsAsBeforeOrAfterEachCut) {
  const auto programs = number("OPENVHD_CHAIN_PROGRAMS", GetParam().programs);
  const auto cuts = number("OPENVHD_CHAIN_CUTS", 2);
  const auto first = number("OPENVHD_SEED", 1);
  std::size_t deepest = 0;
  for (std::uint64_t program = 0; program < programs; ++program) {
    SCOPED_TRACE("OPENVHD_SEED=" + std::to_string(first + program));
    std::mt19937_64 random{first + program};
    // Every fourth begins with a chain of some length, the first with the longest there may be.
    const bool deep = program % 4 == 0;
    const auto depth = static_cast<unsigned>(program == 0 ? 64 : 1 + random() % 64);
    Shape shape = small_shape(GetParam().format, GetParam().sector);
    shape.milestone = shape.block;
    ChainWorld world{{.shape = shape,
                      .seed = random(),
                      .depth = deep ? depth : 1,
                      .cuts = cuts == 0 ? ~std::size_t{0} : static_cast<std::size_t>(cuts)}};
    deepest = std::max(deepest, world.deepest());
    for (unsigned i = 0; i < 40; ++i) {
      SCOPED_TRACE("step " + std::to_string(i));
      world.step();
      if (HasFatalFailure()) return;
      deepest = std::max(deepest, world.deepest());
    }
    world.expect_all();
    if (HasFatalFailure()) return;
  }
  std::cout << programs << " programs, chains of up to " << deepest << " images\n";
}

INSTANTIATE_TEST_SUITE_P(Formats, ChainProgram,
                         testing::Values(Run{"Vhdx", Format::vhdx, 512, 4},
                                         Run{"Vhdx4Kn", Format::vhdx, 4096, 4},
                                         Run{"Vhd", Format::vhd, 512, 8}),
                         [](const auto& one) { return std::string{one.param.name}; });

// As deep as a chain may be: 64 images, merged at once, at every tenth cut.
class DeepChain : public testing::TestWithParam<Format> {};

TEST_P(DeepChain, SixtyFourImagesMergeInOnePass) {
  SimChain chain{small_shape(GetParam())};
  const std::uint64_t size = chain.shape().size;
  std::vector<std::string> paths{chain.name("l0")};
  chain.create(paths.front());
  std::mt19937_64 random{5};
  for (unsigned level = 1; level < 64; ++level) {
    const std::string name = chain.name("l" + std::to_string(level));
    chain.create_child(name, paths.front());
    chain.write(name, random() % (size - 6000), pattern(1 + random() % 6000, level));
    if (level % 5 == 0) chain.zero(name, random() % (size - 9000), 9000);
    paths.insert(paths.begin(), name);
  }
  const Contents before = *chain.read(paths.front());
  SimChain run{chain.shape(), chain.store().copy()};
  const snapshot::MergeTask task{.format = GetParam(), .paths = paths};
  const auto done = run_merge(run.shop(), task);
  ASSERT_TRUE(done) << done.error().what;
  EXPECT_EQ(done->removed.size(), 63u);
  EXPECT_TRUE(*run.read(paths.back()) == before);
  const auto cuts = run.store().cuts();
  for (std::size_t i = 0; i < cuts.size(); i += 10) {
    SCOPED_TRACE("cut before tick " + std::to_string(cuts[i]));
    SimChain found{chain.shape(), run.store().after_cut(cuts[i], SimStore::Survivors::some, i)};
    const bool there = found.store().exists(paths.front());
    const auto got = found.read(there ? paths.front() : paths.back());
    ASSERT_TRUE(got) << got.error().what;
    ASSERT_TRUE(*got == before);
    if (found.store().exists(snapshot::record_path(paths.back()))) {
      const auto finished = snapshot::finish_merge(found.shop(), GetParam(), paths.back(), {});
      ASSERT_TRUE(finished) << finished.error().what;
      ASSERT_TRUE(*found.read(paths.back()) == before);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, DeepChain, testing::Values(Format::vhdx, Format::vhd),
                         [](const auto& one) { return std::string{to_string(one.param)}; });

}  // namespace
}  // namespace openvhd::test
