#include "control/doctor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace openvhd::vmm {
namespace {

using State = Finding::State;

TEST(Doctor, OneMissingThingDecidesTheExitCode) {
  EXPECT_EQ(doctor_code({{"a", State::good, "", ""}, {"b", State::limited, "", ""}}), ExitCode::ok);
  EXPECT_EQ(doctor_code({{"a", State::good, "", ""}, {"b", State::missing, "", ""}}),
            ExitCode::missing);
}

TEST(Doctor, TheReportSaysWhatToDo) {
  const std::vector<Finding> findings{{"kvm", State::missing, "not there", "load kvm-amd"}};
  EXPECT_EQ(doctor_text(findings), "missing  kvm                  not there\n" +
                                       std::string(29, ' ') + " -> load kvm-amd\n");
  const auto document = nlohmann::json::parse(doctor_json(findings));
  EXPECT_EQ(document["can_run"], false);
  EXPECT_EQ(document["findings"][0]["advice"], "load kvm-amd");
}

TEST(Doctor, TheHostIsLookedAt) {
  const auto findings = examine_host();
  for (const char* what : {"kvm", "seabios", "ovmf", "locks", "io_uring"})
    EXPECT_TRUE(std::any_of(findings.begin(), findings.end(), [&](const auto& f) {
      return f.what == what && !f.found.empty();
    })) << what;
}

}  // namespace
}  // namespace openvhd::vmm
