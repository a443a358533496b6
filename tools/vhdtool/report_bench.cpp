#include "report_bench.hpp"

#include <fmt/format.h>

#include <array>

#include "report.hpp"
#include "size.hpp"
#include "text.hpp"

namespace vhdtool {
namespace {

struct Percentile {
  const char* text;
  const char* key;
  double percent;
};

constexpr std::array kPercentiles = {Percentile{"p50", "p50", 50}, Percentile{"p90", "p90", 90},
                                     Percentile{"p99", "p99", 99},
                                     Percentile{"p99.9", "p99_9", 99.9}};

double ratio(std::uint64_t part, std::uint64_t whole) noexcept {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

double per_second(std::uint64_t number, double seconds) noexcept {
  return seconds > 0 ? static_cast<double>(number) / seconds : 0;
}

std::uint64_t moved_bytes(const openvhd::QueueStatistics& queues) noexcept {
  return queues.reads.bytes + queues.writes.bytes + queues.trims.bytes;
}

std::string latency_text(const openvhd::LatencyHistogram& latency) {
  std::string out;
  for (const auto& [text, key, percent] : kPercentiles) {
    out += fmt::format("{}{} {:.1f} us", out.empty() ? "" : ", ", text,
                       static_cast<double>(latency.percentile_ns(percent)) / 1000);
  }
  return out;
}

std::string subject_text(const BenchSubject& subject, const BenchOptions& options,
                         const BenchResult& result) {
  const auto type = subject.format == openvhd::Format::raw
                        ? std::string{}
                        : fmt::format(" {}", openvhd::to_string(subject.type));
  return fmt::format("{}: {}{}, {}: {}{}, {}, depth {}, {}, {}{}\n", printable(subject.file),
                     format_name(subject.format), type, human_size(subject.virtual_size),
                     options.sequential ? "sequential " : "", bench_mode_name(options.mode),
                     human_size(options.block), options.depth, counted(options.queues, "queue"),
                     result.driver, subject.direct ? "" : ", page cache");
}

void add_image(Table& table, const openvhd::ImageStatistics& image) {
  table.row(
      {"image", fmt::format("{} allocated, {}, {}, {}", counted(image.allocated_blocks, "block"),
                            counted(image.commits, "commit"), counted(image.syncs, "sync"),
                            counted(image.durable_writes, "durable write"))});
  table.row({"metadata", fmt::format("{} written, {} read", human_size(image.metadata_write_bytes),
                                     human_size(image.metadata_read_bytes))});
}

std::string qos_text(const BenchQos& qos, const openvhd::QosStatus& status) {
  std::string out = qos.policy.name.empty() ? "" : printable(qos.policy.name) + ": ";
  out +=
      fmt::format("{}, {} throttled for {:.1f} us each", counted(status.operations, "operation"),
                  grouped(status.throttled), ratio(status.throttled_ns, status.throttled) / 1000);
  if (status.insufficient_throughput)
    out += fmt::format(", insufficient throughput: {} per second of {}", status.iops,
                       qos.policy.limits.min_iops);
  return out;
}

Json kind_json(const openvhd::QueueStatistics::Kind& kind) {
  return {{"requests", kind.requests}, {"bytes", kind.bytes}, {"failed", kind.failed}};
}

Json queues_json(const openvhd::QueueStatistics& queues) {
  return {{"reads", kind_json(queues.reads)},  {"writes", kind_json(queues.writes)},
          {"trims", kind_json(queues.trims)},  {"flushes", kind_json(queues.flushes)},
          {"mapped", queues.mapped},           {"handed_over", queues.handed_over},
          {"submissions", queues.submissions}, {"host_requests", queues.host_requests}};
}

Json image_json(const openvhd::ImageStatistics& image) {
  return {{"syncs", image.syncs},
          {"durable_writes", image.durable_writes},
          {"payload_bytes", image.payload_bytes},
          {"metadata_reads", image.metadata_reads},
          {"metadata_read_bytes", image.metadata_read_bytes},
          {"metadata_writes", image.metadata_writes},
          {"metadata_write_bytes", image.metadata_write_bytes},
          {"reserves", image.reserves},
          {"zeroes", image.zeroes},
          {"punches", image.punches},
          {"allocated_blocks", image.allocated_blocks},
          {"commits", image.commits}};
}

}  // namespace

const char* bench_mode_name(BenchMode mode) noexcept {
  switch (mode) {
    case BenchMode::read:
      return "read";
    case BenchMode::write:
      return "write";
    case BenchMode::alloc:
      return "alloc";
    case BenchMode::trim:
      break;
  }
  return "trim";
}

std::string bench_text(const BenchSubject& subject, const BenchOptions& options,
                       const BenchResult& result, const BenchQos* qos) {
  const auto& queues = result.queues;
  Table table{{Table::Align::left, Table::Align::left}};
  const auto rate = per_second(moved_bytes(queues), result.seconds);
  table.row({"requests",
             fmt::format("{} in {:.2f} s: {:.0f} and {} per second{}", grouped(result.requests),
                         result.seconds, per_second(result.requests, result.seconds),
                         human_size(static_cast<std::uint64_t>(rate)),
                         result.exhausted ? "; then there was nothing left" : "")});
  table.row({"latency", latency_text(queues.latency)});
  table.row({"served by", fmt::format("queues {}, the image's owner {}", grouped(queues.mapped),
                                      grouped(queues.handed_over))});
  table.row({"per request", fmt::format("{:.3f} system calls, {:.3f} host transfers of queues",
                                        ratio(queues.submissions, result.requests),
                                        ratio(queues.host_requests, result.requests))});
  if (queues.flushes.requests != 0) {
    table.row({"flushes", fmt::format("{}, {:.2f} syncs each", grouped(queues.flushes.requests),
                                      ratio(result.image.syncs + result.image.durable_writes,
                                            queues.flushes.requests))});
  }
  if (qos != nullptr) table.row({"qos", qos_text(*qos, result.qos)});
  if (options.online != OnlineWork::none) {
    table.row({online_work_name(options.online),
               fmt::format("{} in {:.2f} s, {} moved{}", counted(result.online.done, "time"),
                           result.online.seconds, human_size(result.online.bytes),
                           result.online.cut_short ? "; one was stopped" : "")});
  }
  add_image(table, result.image);
  return subject_text(subject, options, result) + table.text("  ");
}

namespace {

void add_status(Json& to, const openvhd::QosStatus& status) {
  to["operations"] = status.operations;
  to["bytes"] = status.bytes;
  to["throttled"] = status.throttled;
  to["throttled_ns"] = status.throttled_ns;
  to["held"] = status.held;
  to["current_iops"] = status.iops;
  to["current_bytes_per_second"] = status.bytes_per_second;
  to["insufficient_throughput"] = status.insufficient_throughput;
}

Json qos_json(const BenchQos* qos, const openvhd::QosStatus& status) {
  if (qos == nullptr) return nullptr;
  const auto& limits = qos->policy.limits;
  const bool dedicated = qos->policy.sharing == openvhd::QosSharing::dedicated;
  Json out = {{"policy", qos->policy.name.empty() ? Json(nullptr) : Json(qos->policy.name)},
              {"sharing", dedicated ? "dedicated" : "aggregated"},
              {"iops", limits.iops},
              {"bytes_per_second", limits.bytes_per_second},
              {"io_size", limits.io_size},
              {"min_iops", limits.min_iops},
              {"weight", limits.weight},
              {"disk_weight", qos->disk.weight}};
  add_status(out, status);
  return out;
}

Json online_json(const BenchOptions& options, const OnlineReport& online) {
  if (options.online == OnlineWork::none) return nullptr;
  return {{"work", online_work_name(options.online)},
          {"bytes_per_second", options.online_rate},
          {"done", online.done},
          {"bytes", online.bytes},
          {"seconds", online.seconds},
          {"cut_short", online.cut_short}};
}

}  // namespace

Json bench_json(const BenchSubject& subject, const BenchOptions& options, const BenchResult& result,
                const BenchQos* qos) {
  Json latency = Json::object();
  for (const auto& [text, key, percent] : kPercentiles)
    latency[key] = result.queues.latency.percentile_ns(percent);
  return {{"schema", kJsonSchema},
          {"file", subject.file},
          {"format", openvhd::to_string(subject.format)},
          {"type", openvhd::to_string(subject.type)},
          {"virtual_size", subject.virtual_size},
          {"range_bytes", subject.range_bytes},
          {"direct", subject.direct},
          {"driver", result.driver},
          {"mode", bench_mode_name(options.mode)},
          {"block", options.block},
          {"depth", options.depth},
          {"queues", options.queues},
          {"flush_every", options.flush_every == 0 ? Json(nullptr) : Json(options.flush_every)},
          {"seed", options.seed},
          {"sequential", options.sequential},
          {"durable", options.durable},
          {"registered", options.registered},
          {"seconds", result.seconds},
          {"requests", result.requests},
          {"exhausted", result.exhausted},
          {"requests_per_second", per_second(result.requests, result.seconds)},
          {"bytes_per_second", per_second(moved_bytes(result.queues), result.seconds)},
          {"latency_ns", latency},
          {"queue", queues_json(result.queues)},
          {"image", image_json(result.image)},
          {"qos", qos_json(qos, result.qos)},
          {"online", online_json(options, result.online)}};
}

Json bench_json(Json disks, const QosPlan* plan, const openvhd::QosStatus& host) {
  Json out = {{"schema", kJsonSchema}, {"disks", std::move(disks)}, {"qos_host", nullptr}};
  if (plan == nullptr) return out;
  Json& of_host = out["qos_host"] = {{"iops", plan->host.iops},
                                     {"bytes_per_second", plan->host.bytes_per_second},
                                     {"in_flight", plan->host.in_flight}};
  add_status(of_host, host);
  return out;
}

}  // namespace vhdtool
