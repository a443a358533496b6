#include "qos_plan.hpp"

#include <gtest/gtest.h>

namespace vhdtool {
namespace {

TEST(QosPlanFile, HasEveryField) {
  const auto parsed = parse_plan(R"({
    "schema": 1,
    "host": {"iops": 1, "iops_burst": 2, "bytes_per_second": 3, "bytes_burst": 4, "in_flight": 5},
    "policies": {
      "gold": {"sharing": "dedicated", "iops": 10, "iops_burst": 11, "iops_one_time": 12,
               "bytes_per_second": 13, "bytes_burst": 14, "bytes_one_time": 15, "io_size": 512,
               "min_iops": 9, "weight": 1000},
      "rest": {}},
    "disks": [{"file": "a.vhdx", "policy": "rest", "weight": 7},
              {"file": "b.vhdx", "policy": "gold"}]})");
  ASSERT_EQ(parsed.problem, "");
  const auto& plan = parsed.plan;
  EXPECT_EQ(plan.host.iops, 1U);
  EXPECT_EQ(plan.host.iops_burst, 2U);
  EXPECT_EQ(plan.host.bytes_per_second, 3U);
  EXPECT_EQ(plan.host.bytes_burst, 4U);
  EXPECT_EQ(plan.host.in_flight, 5U);
  ASSERT_EQ(plan.policies.size(), 2U);
  const auto& gold = plan.policies[0];
  EXPECT_EQ(gold.name, "gold");
  EXPECT_EQ(gold.sharing, openvhd::QosSharing::dedicated);
  EXPECT_EQ(gold.limits.iops, 10U);
  EXPECT_EQ(gold.limits.iops_burst, 11U);
  EXPECT_EQ(gold.limits.iops_one_time, 12U);
  EXPECT_EQ(gold.limits.bytes_per_second, 13U);
  EXPECT_EQ(gold.limits.bytes_burst, 14U);
  EXPECT_EQ(gold.limits.bytes_one_time, 15U);
  EXPECT_EQ(gold.limits.io_size, 512U);
  EXPECT_EQ(gold.limits.min_iops, 9U);
  EXPECT_EQ(gold.limits.weight, 1000U);
  EXPECT_EQ(plan.policies[1].sharing, openvhd::QosSharing::aggregated);
  EXPECT_EQ(plan.policies[1].limits.weight, 100U);
  const auto ours = plan_for(parsed, {"b.vhdx", "a.vhdx"});
  ASSERT_EQ(ours.problem, "");
  ASSERT_EQ(ours.plan.disks.size(), 2U);
  EXPECT_EQ(ours.plan.disks[0].policy, 0U);
  EXPECT_EQ(ours.plan.disks[1].policy, 1U);
  EXPECT_EQ(ours.plan.disks[1].weight, 7U);
  EXPECT_EQ(plan_for(parsed, {"c.vhdx"}).problem, "disks: there is no 'c.vhdx'");
}

TEST(QosPlanFile, NamesTheFieldThatIsWrong) {
  const auto problem = [](const std::string& fields) {
    return parse_plan(R"({"schema": 1)" + fields + "}").problem;
  };
  EXPECT_EQ(parse_plan("{\"schema\": 1,}").problem, "is no JSON at byte 14");
  EXPECT_EQ(parse_plan("").problem, "is no JSON at byte 1");
  EXPECT_EQ(parse_plan("[]").problem, "the document: is no object");
  EXPECT_EQ(parse_plan("{}").problem, "schema: is missing");
  EXPECT_EQ(parse_plan("{\"schema\": 2}").problem, "schema: is a whole number, 1 to 1");
  EXPECT_EQ(problem(R"(, "hosts": {})"), "hosts: there is no such field");
  EXPECT_EQ(problem(R"(, "host": {}, "host": {})"), "host: is there twice");
  EXPECT_EQ(problem(R"(, "host": {"in_flight": 4294967296})"),
            "host.in_flight: is a whole number, 0 to 4294967295");
  EXPECT_EQ(problem(R"(, "host": 1)"), "host: is no object");
  EXPECT_EQ(problem(R"(, "policies": [])"), "policies: is no object");
  EXPECT_EQ(problem(R"(, "policies": {"a": {"iops": -1}})"),
            "policies.a.iops: is a whole number, 0 to 18446744073709551615");
  EXPECT_EQ(problem(R"(, "policies": {"a\n": {"weight": 0}})"),
            "policies.a\\x0a.weight: is a whole number, 1 to 10000");
  EXPECT_EQ(problem(R"(, "policies": {"a": {"iops": 1, "min_iops": 2}})"),
            "policies.a.min_iops: is above iops");
  EXPECT_EQ(problem(R"(, "policies": {"a": {"sharing": "none"}})"),
            "policies.a.sharing: is \"aggregated\" or \"dedicated\"");
  EXPECT_EQ(problem(R"(, "policies": {"a": {"speed": 1}})"),
            "policies.a.speed: there is no such field");
  EXPECT_EQ(problem(R"(, "disks": [{"policy": "a"}])"), "disks[0].file: is missing");
  EXPECT_EQ(problem(R"(, "disks": [{"file": 1}])"), "disks[0].file: is no string");
  EXPECT_EQ(problem(R"(, "disks": [{"file": "x", "policy": "a"}])"),
            "disks[0].policy: there is no policy 'a'");
  EXPECT_EQ(problem(R"(, "policies": {"a": {}}, "disks": [{"file": "x", "policy": "a"},
                       {"file": "x", "policy": "a"}])"),
            "disks[1].file: is there twice");
  EXPECT_EQ(parse_plan(std::string(kMostPlanBytes + 1, ' ')).problem, "is longer than 1 MiB");
}

}  // namespace
}  // namespace vhdtool
