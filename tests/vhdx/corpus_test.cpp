// Images that other programs wrote, and damaged copies of them. Skipped where they are absent.
#include "support/corpus.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <set>

#include "support/bytes.hpp"
#include "support/fixed_host.hpp"
#include "vhdx/load_support.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

using Json = nlohmann::json;

struct Verdict {
  std::string refusal;        // of open(); empty when it opens
  std::set<std::string> ids;  // of errors that check() finds
};

Verdict judge(const std::shared_ptr<MemoryStore>& store) {
  Verdict out;
  out.refusal = refusal(store);
  MemoryFile file{store, {.writable = false}};
  std::vector<Finding> findings;
  const Status checked = vhdx::check(file, findings, 1000, nullptr);
  EXPECT_TRUE(checked) << checked.error().what;
  for (const Finding& finding : findings) {
    if (finding.severity == Severity::error) out.ids.insert(finding.id);
  }
  return out;
}

// What only a chain shows is not to be seen in the file alone.
bool about_the_chain(const std::string& id) {
  static const std::set<std::string> kOfChains{"d6-parent-missing--parent-missing.vhdx",
                                               "d6-self-cycle--self-cycle.vhdx",
                                               "d6-cycle2--a.vhdx",
                                               "d6-cycle2--b.vhdx",
                                               "d6-linkage-mismatch--child.vhdx",
                                               "d6-parent-sector-differs--child.vhdx"};
  return kOfChains.contains(id);
}

using VhdxCorpus = CorpusTest;

// And a dirty one, once its log is replayed into it, is healthy.
TEST_F(VhdxCorpus, WhatOpensIsReadAndFoundWithoutErrors) {
  for_each(Format::vhdx, "opens", [](const Json& entry, const std::shared_ptr<MemoryStore>& store) {
    const auto loaded = load(store);
    ASSERT_TRUE(loaded) << loaded.error().what;
    const Json facts = entry.value("facts", Json::object());
    const auto& geometry = loaded->image.geometry;
    EXPECT_EQ(facts.value("virtual_size", geometry.virtual_size), geometry.virtual_size);
    EXPECT_EQ(facts.value("block_size", geometry.block_size), geometry.block_size);
    const Verdict verdict = judge(store);
    EXPECT_TRUE(verdict.ids.empty()) << *verdict.ids.begin();
    if (!loaded->image.log_summary.was_dirty) return;

    MemoryFile file{store};
    FixedHost host;
    const auto replayed = vhdx::replay(file, false, host);
    ASSERT_TRUE(replayed) << replayed.error().what;
    EXPECT_TRUE(replayed->was_dirty);
    const auto again = load(store, true);
    ASSERT_TRUE(again) << again.error().what;
    EXPECT_FALSE(again->image.log_summary.was_dirty);
    EXPECT_TRUE(judge(store).ids.empty());
  });
}

TEST_F(VhdxCorpus, WhatMustBeRejectedIsRefusedOrHasErrors) {
  for_each(Format::vhdx, "must be rejected",
           [](const Json& entry, const std::shared_ptr<MemoryStore>& store) {
             const std::string id = entry["id"];
             if (about_the_chain(id)) return;
             const auto start = std::chrono::steady_clock::now();
             const Verdict verdict = judge(store);
             const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
             EXPECT_LT(took.count(), 1.0);
             EXPECT_FALSE(verdict.ids.empty()) << entry["why"];
             // Damage in the table may also come to light when it is read.
             EXPECT_TRUE(entry["reject_stage"] != "open" || verdict.refusal != "") << entry["why"];
           });
}

}  // namespace
}  // namespace openvhd::test
