/// What `vhdtool bench` prints: pure functions from its figures to text and JSON.
#pragma once

#include <string>

#include "bench_run.hpp"
#include "json.hpp"

namespace vhdtool {

/// What was measured, beside the options.
struct BenchSubject {
  std::string file;
  openvhd::Format format{};
  openvhd::DiskType type{};
  std::uint64_t virtual_size = 0;
  std::uint64_t range_bytes = 0;  ///< That requests went to.
  bool direct = true;
};

const char* bench_mode_name(BenchMode mode) noexcept;

/// A disk under a plan, and what became of it.
struct BenchQos {
  const QosPlan::Policy& policy;
  const QosPlan::Disk& disk;
};

/// `qos` is null without a plan.
std::string bench_text(const BenchSubject& subject, const BenchOptions& options,
                       const BenchResult& result, const BenchQos* qos = nullptr);
Json bench_json(const BenchSubject& subject, const BenchOptions& options, const BenchResult& result,
                const BenchQos* qos = nullptr);
/// Several disks at once: what each of them says, and what all took from their host.
Json bench_json(Json disks, const QosPlan* plan, const openvhd::QosStatus& host);

}  // namespace vhdtool
