#include "qos_text.hpp"

#include <gtest/gtest.h>

namespace vhdtool {
namespace {

TEST(QosText, TakesEveryField) {
  const auto parsed = parse_qos(
      "iops=500,bps=10M,iops-burst=7,bps-burst=1M,iops-once=3,bps-once=4K,io-size=4096,min=20,"
      "weight=300");
  EXPECT_EQ(parsed.problem, "");
  EXPECT_EQ(parsed.limits.iops, 500U);
  EXPECT_EQ(parsed.limits.bytes_per_second, 10U << 20);
  EXPECT_EQ(parsed.limits.iops_burst, 7U);
  EXPECT_EQ(parsed.limits.bytes_burst, 1U << 20);
  EXPECT_EQ(parsed.limits.iops_one_time, 3U);
  EXPECT_EQ(parsed.limits.bytes_one_time, 4096U);
  EXPECT_EQ(parsed.limits.io_size, 4096U);
  EXPECT_EQ(parsed.limits.min_iops, 20U);
  EXPECT_EQ(parsed.limits.weight, 300U);
}

TEST(QosText, TakesEveryFieldOfAHost) {
  const auto parsed = parse_qos_host("iops=1,bps=2,iops-burst=3,bps-burst=4,in-flight=5");
  EXPECT_EQ(parsed.problem, "");
  EXPECT_EQ(parsed.limits.iops, 1U);
  EXPECT_EQ(parsed.limits.bytes_per_second, 2U);
  EXPECT_EQ(parsed.limits.iops_burst, 3U);
  EXPECT_EQ(parsed.limits.bytes_burst, 4U);
  EXPECT_EQ(parsed.limits.in_flight, 5U);
  EXPECT_EQ(parse_qos_host("min=1").problem, "there is no field 'min'");
  EXPECT_EQ(parse_qos_host("in-flight=0").problem, "in-flight is 1 to 4294967295");
}

TEST(QosText, NamesTheFieldThatIsWrong) {
  EXPECT_EQ(parse_qos("iops=5,max=3").problem, "there is no field 'max'");
  EXPECT_EQ(parse_qos("iops=5,").problem, "there is no field ''");
  EXPECT_EQ(parse_qos("iops").problem, "iops has no value");
  EXPECT_EQ(parse_qos("bps=1,bps=2").problem, "bps is given twice");
  EXPECT_EQ(parse_qos("bps=0").problem, "bps is 1 at least");
  EXPECT_EQ(parse_qos("bps=fast").problem.substr(0, 5), "bps: ");
  EXPECT_EQ(parse_qos("weight=0").problem, "weight is 1 to 10000");
  EXPECT_EQ(parse_qos("iops=5,min=6").problem, "min is above iops");
  EXPECT_EQ(parse_qos("io-size=1").problem, "io-size is 512 bytes to 1 GiB");
}

}  // namespace
}  // namespace vhdtool
