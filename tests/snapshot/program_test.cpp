// Random programs over chains: every disk reads as a flat model says, after each step, and after a
// power cut in the middle of one (T10).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>

#include "snapshot/merge_record.hpp"
#include "snapshot/merge_run.hpp"
#include "snapshot/sim_chain.hpp"
#include "support/bytes.hpp"

namespace openvhd::test {
namespace {

/// A forest of images, what each reads as, and who is over whom.
class Forest {
 public:
  Forest(Format format, std::uint64_t seed) : random_{seed}, chain_{small_shape(format)} {
    add("", 0);
  }

  /// One step; `cut` may lose power in the middle of it.
  void step(bool cut);
  void expect_all();
  std::size_t deepest() const {
    std::size_t out = 0;
    for (const auto& [name, disk] : disks_) out = std::max(out, depth_of(name));
    return out;
  }

 private:
  struct Disk {
    std::string parent;  // empty: none
    Contents contents;
  };

  std::uint64_t pick(std::uint64_t below) { return random_() % below; }
  std::string any() {
    return std::next(disks_.begin(), static_cast<std::ptrdiff_t>(pick(disks_.size())))->first;
  }
  std::vector<std::string> children_of(const std::string& name) const {
    std::vector<std::string> out;
    for (const auto& [other, disk] : disks_) {
      if (disk.parent == name) out.push_back(other);
    }
    return out;
  }
  std::size_t depth_of(std::string name) const {
    std::size_t out = 0;
    for (; !name.empty(); name = disks_.at(name).parent) ++out;
    return out;
  }
  void add(const std::string& parent, std::uint64_t size);
  void write();
  void merge(bool cut);
  void pull(bool cut);
  /// Runs `work` in a recorded copy; with `cut`, goes on from what a power cut at some point of it
  /// leaves, and does again what is then to be done.
  template <class Work>
  void work(bool cut, Work body);

  std::mt19937_64 random_;
  SimChain chain_;
  std::map<std::string, Disk> disks_;
  unsigned made_ = 0;
};

void Forest::add(const std::string& parent, std::uint64_t size) {
  const std::string name = chain_.name("d" + std::to_string(made_++));
  if (parent.empty()) {
    chain_.create(name, pick(3) == 0 ? DiskType::fixed : DiskType::dynamic);
    disks_[name] = {"", Contents(chain_.shape().size)};
    return;
  }
  chain_.create_child(name, parent, size);
  disks_[name] = {parent, disks_.at(parent).contents};
  if (size != 0) disks_[name].contents.resize(size);
}

void Forest::write() {
  const std::string name = any();
  if (!children_of(name).empty()) return;  // what others are over does not change
  Disk& disk = disks_.at(name);
  const std::uint64_t at = pick(disk.contents.size());
  const std::uint64_t most = pick(2) == 0 ? 2048 : chain_.shape().block * 2;
  const auto length = static_cast<std::size_t>(1 + pick(std::min(most, disk.contents.size() - at)));
  const auto to = disk.contents.begin() + static_cast<std::ptrdiff_t>(at);
  if (pick(3) == 0) {
    chain_.zero(name, at, length);
    std::fill_n(to, length, std::byte{0});
    return;
  }
  const auto bytes = pattern(length, random_());
  chain_.write(name, at, bytes);
  std::ranges::copy(bytes, to);
}

template <class Work>
void Forest::work(bool cut, Work body) {
  chain_ = SimChain{chain_.shape(), chain_.store().copy()};
  body(chain_);
  if (!cut || testing::Test::HasFatalFailure()) return;
  const auto cuts = chain_.store().cuts();
  const std::uint64_t tick = cuts[pick(cuts.size())];
  const auto survivors = static_cast<SimStore::Survivors>(pick(3));
  SimChain found{chain_.shape(), chain_.store().after_cut(tick, survivors, random_())};
  body(found);
  chain_ = SimChain{chain_.shape(), found.store().copy()};
}

// Downwards from anywhere; all that is in between must have nobody else over it.
void Forest::merge(bool cut) {
  std::vector<std::string> paths{any()};
  const std::uint64_t levels = 1 + pick(4);
  while (paths.size() <= levels) {
    const std::string parent = disks_.at(paths.back()).parent;
    if (parent.empty() || children_of(parent).size() != 1) break;
    paths.push_back(parent);
  }
  if (paths.size() < 2) return;
  const std::string child = paths.front();
  const std::string target = paths.back();
  if (disks_.at(child).contents.size() != disks_.at(target).contents.size()) return;
  const auto children = children_of(child);
  work(cut, [&](SimChain& chain) {
    const auto shop = chain.shop();
    const Format format = chain.shape().format;
    if (chain.store().exists(snapshot::record_path(target))) {
      const auto done = snapshot::finish_merge(shop, format, target, {});
      ASSERT_TRUE(done) << done.error().what;
    } else if (chain.store().exists(child)) {
      const auto done = run_merge(shop, {.format = format, .paths = paths});
      ASSERT_TRUE(done) << done.error().what;
    }
  });
  disks_.at(target).contents = disks_.at(child).contents;
  for (const std::string& one : children) disks_.at(one).parent = target;
  for (std::size_t i = 0; i + 1 < paths.size(); ++i) disks_.erase(paths[i]);
}

void Forest::pull(bool cut) {
  std::vector<std::string> paths{any()};
  while (!disks_.at(paths.back()).parent.empty()) {
    paths.push_back(disks_.at(paths.back()).parent);
  }
  if (paths.size() < 2) return;
  const bool detach = paths.size() == 2 || pick(2) == 0;
  if (!detach) paths.resize(3 + pick(paths.size() - 2));
  const std::string child = paths.front();
  work(cut, [&](SimChain& chain) {
    const auto above = chain.chain(child);
    ASSERT_TRUE(above) << above.error().what;
    if (above->size() < paths.size()) return;  // it was done before the cut
    const auto done =
        run_pull(chain.shop(), {.format = chain.shape().format, .paths = paths, .detach = detach});
    ASSERT_TRUE(done) << done.error().what;
  });
  disks_.at(child).parent = detach ? "" : paths.back();
}

void Forest::expect_all() {
  for (const auto& [name, disk] : disks_) {
    const auto got = chain_.read(name);
    ASSERT_TRUE(got) << name << ": " << got.error().what;
    ASSERT_TRUE(*got == disk.contents) << name << " reads otherwise";
  }
}

void Forest::step(bool cut) {
  switch (pick(8)) {
    case 0:
    case 1:
    case 2: {
      const std::string parent = any();
      if (disks_.size() >= 12 || depth_of(parent) >= 60) return merge(cut);
      const bool larger = pick(8) == 0;
      return add(parent, larger ? disks_.at(parent).contents.size() + chain_.shape().block : 0);
    }
    case 3:
    case 4:
    case 5:
      return write();
    case 6:
      return merge(cut);
    default:
      return pull(cut);
  }
}

struct Run {
  Format format;
  std::uint64_t seed;
};

class ChainProgram : public testing::TestWithParam<Run> {};

TEST_P(ChainProgram, EveryDiskReadsAsItsModel) {
  // More in the nightly tier: each test is one program then as well, only with other numbers.
  const char* const more = std::getenv("OPENVHD_CHAIN_PROGRAMS");
  const unsigned programs = more != nullptr ? static_cast<unsigned>(std::atoi(more)) : 3;
  for (unsigned program = 0; program < programs; ++program) {
    SCOPED_TRACE("program " + std::to_string(program));
    Forest forest{GetParam().format, GetParam().seed * 10007 + program};
    for (unsigned i = 0; i < 40; ++i) {
      SCOPED_TRACE("step " + std::to_string(i));
      forest.step(i % 2 == 1);
      if (HasFatalFailure()) return;
      if (i % 4 == 3) forest.expect_all();
      if (HasFatalFailure()) return;
    }
    forest.expect_all();
    if (HasFatalFailure()) return;
  }
}

std::vector<Run> runs() {
  std::vector<Run> out;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    out.push_back({Format::vhdx, seed});
    out.push_back({Format::vhd, seed});
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Seeds, ChainProgram, testing::ValuesIn(runs()), [](const auto& one) {
  return std::string{to_string(one.param.format)} + std::to_string(one.param.seed);
});

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
