/// Random programs over chains, in a simulated directory that loses power: a model says what every
/// disk reads as.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "snapshot/checkpoint_run.hpp"
#include "snapshot/sim_chain.hpp"

namespace openvhd::test {

struct WorldPlan {
  Shape shape{};
  std::uint64_t seed = 0;
  unsigned depth = 1;  ///< Of the chain that there is to begin with.
  /// Of each step, so many places where power is lost; all of them where there are not more.
  std::size_t cuts = 1;
};

/// A forest of images, and one disk with checkpoints beside it. Failures are those of GTest: who
/// calls asks whether there was a fatal one.
class ChainWorld {
 public:
  explicit ChainWorld(const WorldPlan& plan);

  /// One step, and what each of its cuts leaves: every live disk reads as before or after it, and
  /// once the step was finished, as after it.
  void step();
  /// Every image of the forest and every checkpoint reads as the model says.
  void expect_all();
  std::size_t deepest() const;

 private:
  struct Disk {
    std::string parent;  // empty: none
    Contents contents;
  };
  /// What a step is about to change of the live disks.
  struct Change {
    std::string disk{};                // that may read otherwise, or by another name
    std::string moved_to{};            // its name once its own is gone
    const Contents* after = nullptr;   // null: it reads the same
    bool checkpoints = false;          // the disk with checkpoints
    std::string gone{};                // the checkpoint that is given up
    const Contents* before = nullptr;  // what checkpoints without a known name read as
  };
  /// Does what is to be done, also where some or all of it was done before a cut.
  using Work = std::function<void(SimChain&)>;

  std::uint64_t pick(std::uint64_t below) { return random_() % below; }
  std::string any();
  std::vector<std::string> children_of(const std::string& name) const;
  std::vector<std::string> ancestors_of(const std::string& name) const;  // itself first
  std::size_t height_of(const std::string& name) const;
  void run(const Change& change, const Work& work);
  void expect(SimChain& chain, const Change& change, bool done);
  void expect_forest(SimChain& chain, const Change& change, bool done);
  void expect_checkpoints(SimChain& chain, const Change& change, bool done);

  void add(const std::string& parent);
  void write();
  void merge();
  void pull();
  void rebase();
  void resize();
  void compact();

  CheckpointTree tree_of(SimChain& chain);
  void checkpoint();
  void create_checkpoint();
  /// Checkpoints that got a name of their own are `state`.
  void adopt(const Contents& state);
  void apply_checkpoint(const std::string& name, bool discard);
  void delete_checkpoint(const std::string& name);
  void rename_checkpoint(const std::string& name);
  void write_current();

  std::mt19937_64 random_;
  SimChain chain_;
  std::size_t cuts_;
  std::map<std::string, Disk> disks_;
  unsigned made_ = 0;
  std::string root_;                        // the disk with checkpoints
  Contents now_;                            // what that reads as
  std::map<std::string, Contents> states_;  // by the checkpoint's name
};

}  // namespace openvhd::test
