// crash_lab: explores, replays and exports crash states. Run without arguments for its usage.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <string>
#include <vector>

#include "crash/explore.hpp"
#include "crash/faults.hpp"
#include "crash/mutants.hpp"

namespace openvhd::test {
namespace {

using Options = std::map<std::string, std::string>;

std::uint64_t number(const Options& options, const char* name, std::uint64_t otherwise) {
  const auto found = options.find(name);
  return found == options.end() ? otherwise : std::strtoull(found->second.c_str(), nullptr, 10);
}

std::vector<const Workload*> chosen(const Options& options) {
  std::vector<const Workload*> out;
  const auto wanted = options.find("workload");
  if (wanted != options.end())
    if (const Workload* const one = find_workload(wanted->second)) return {one};
  for (const Workload& workload : workloads())
    if (wanted == options.end() || std::string{workload.name}.starts_with(wanted->second))
      out.push_back(&workload);
  return out;
}

/// Of this process on its core: what others do on the machine does not count.
double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

/// What one workload does not need of its share goes to those after it.
int states(const Options& options) {
  const auto list = chosen(options);
  std::uint64_t left = number(options, "states", 2500 * list.size());
  ExploreResult sum;
  bool failed = false;
  const double begin = cpu_seconds();
  for (std::size_t i = 0; i < list.size(); ++i) {
    const double start = cpu_seconds();
    const auto result =
        explore(*list[i], {.states = left / (list.size() - i), .seed = number(options, "seed", 1)});
    left -= std::min(left, result.states);
    const double took = cpu_seconds() - start;
    std::printf("%-32s %8llu states %7llu nested %5llu of %5llu cuts whole%s %7.0f/s\n",
                list[i]->name, static_cast<unsigned long long>(result.states),
                static_cast<unsigned long long>(result.nested),
                static_cast<unsigned long long>(result.exhausted),
                static_cast<unsigned long long>(result.cuts), result.all ? ", all" : "",
                static_cast<double>(result.states) / took);
    std::fflush(stdout);
    if (!result.failure.empty()) std::printf("FAILED %s\n", result.failure.c_str());
    failed = failed || !result.failure.empty();
    sum.states += result.states;
    sum.nested += result.nested;
  }
  std::printf("workloads %zu, states %llu, nested %llu, in %.1f CPU s, %.0f states/s/core, %s\n",
              list.size(), static_cast<unsigned long long>(sum.states),
              static_cast<unsigned long long>(sum.nested), (cpu_seconds() - begin),
              static_cast<double>(sum.states) / (cpu_seconds() - begin),
              failed ? "FAILED" : "no violation");
  return failed ? 1 : 0;
}

/// Every mutant has to be noticed, but for those that cannot be.
int mutants(const Options& options) {
  const std::uint64_t budget = number(options, "states", 6000);
  const auto wanted = options.find("only");
  const double begin = cpu_seconds();
  unsigned noticed = 0;
  unsigned harmless = 0;
  unsigned missed = 0;
  for (const Mutant& mutant : all_mutants()) {
    if (wanted != options.end() && mutant.name().find(wanted->second) == std::string::npos)
      continue;
    // That nothing shows it is expected of a harmless one, and looked at less long.
    const MutantResult result = try_mutant(mutant, mutant.harmless.empty() ? budget : budget / 6);
    const char* verdict = result.noticed ? "noticed" : "MISSED";
    if (!mutant.harmless.empty()) verdict = result.noticed ? "NOT HARMLESS" : "harmless";
    const bool good = result.noticed == mutant.harmless.empty();
    std::printf("%-12s %-52s %6llu states  %s\n", verdict, mutant.name().c_str(),
                static_cast<unsigned long long>(result.states),
                mutant.harmless.empty() ? result.failure.c_str() : mutant.harmless.c_str());
    std::fflush(stdout);
    missed += good ? 0 : 1;
    noticed += result.noticed && good ? 1 : 0;
    harmless += !result.noticed && good ? 1 : 0;
  }
  std::printf("mutants %u: noticed %u, harmless %u, MISSED %u, in %.1f CPU s\n",
              noticed + harmless + missed, noticed, harmless, missed, cpu_seconds() - begin);
  return missed == 0 ? 0 : 1;
}

int faults(const Options& options) {
  const auto list = chosen(options);
  FaultResult sum;
  bool failed = false;
  const double begin = cpu_seconds();
  for (const Workload* workload : list) {
    const auto result = inject_faults(*workload, {.every = number(options, "every", 1),
                                                  .from = number(options, "from", 0),
                                                  .seed = number(options, "seed", 1)});
    std::printf("%-32s %6llu runs %6llu recoveries\n", workload->name,
                static_cast<unsigned long long>(result.runs),
                static_cast<unsigned long long>(result.recovery));
    if (!result.failure.empty()) std::printf("FAILED %s\n", result.failure.c_str());
    std::fflush(stdout);
    failed = failed || !result.failure.empty();
    sum.runs += result.runs;
    sum.recovery += result.recovery;
    for (const auto& [site, count] : result.sites) sum.sites[site] += count;
  }
  if (options.contains("sites"))
    for (const auto& [site, count] : sum.sites)
      std::printf("%8llu  %s\n", static_cast<unsigned long long>(count), site.c_str());
  std::printf("workloads %zu, runs %llu, of recoveries %llu, sites %zu, in %.1f CPU s, %s\n",
              list.size(), static_cast<unsigned long long>(sum.runs + sum.recovery),
              static_cast<unsigned long long>(sum.recovery), sum.sites.size(),
              cpu_seconds() - begin, failed ? "FAILED" : "no violation");
  return failed ? 1 : 0;
}

int replay(const std::string& name) {
  const std::string wrong = replay_state(name, {});
  std::printf("%s: %s\n", name.c_str(), wrong.empty() ? "as promised" : wrong.c_str());
  return wrong.empty() ? 0 : 1;
}

/// NUMBER.vhdx or NUMBER.vhd for each state, NUMBER.raw for what it reads as; a line for each.
int sample(const Options& options, const std::string& folder) {
  std::size_t number_of_file = 0;
  for (const Workload* workload : chosen(options)) {
    for (const std::string& name : sample_names(*workload, number(options, "count", 5))) {
      const std::string base = folder + '/' + std::to_string(number_of_file++);
      const char* const ending = workload->shape.format == Format::vhdx ? ".vhdx" : ".vhd";
      // A child reads as its parent, which is not among the files; large disks take long.
      const bool whole = !workload->shape.has_parent() && workload->shape.virtual_size < 64 << 20;
      if (!export_state(name, base + ending, whole ? base + ".raw" : "")) {
        std::printf("FAILED %s\n", name.c_str());
        return 1;
      }
      std::printf("%s%s %s\n", base.c_str(), ending, name.c_str());
    }
  }
  return 0;
}

int usage() {
  std::fputs(
      "crash_lab list\n"
      "crash_lab states [--workload PREFIX] [--states N] [--seed N]\n"
      "crash_lab faults [--workload PREFIX] [--every N] [--from N] [--seed N] [--sites yes]\n"
      "crash_lab mutants [--states N] [--only TEXT]\n"
      "crash_lab replay STATE\n"
      "crash_lab export STATE FILE\n"
      "crash_lab sample [--workload PREFIX] [--count N] FOLDER\n",
      stderr);
  return 2;
}

int run(std::vector<std::string> arguments) {
  Options options;
  std::vector<std::string> plain;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (!arguments[i].starts_with("--"))
      plain.push_back(arguments[i]);
    else if (i + 1 < arguments.size()) {
      options[arguments[i].substr(2)] = arguments[i + 1];
      ++i;
    }
  }
  if (plain.empty()) return usage();
  if (plain[0] == "list") {
    for (const Workload& workload : workloads()) std::puts(workload.name);
    return 0;
  }
  if (plain[0] == "states") return states(options);
  if (plain[0] == "faults") return faults(options);
  if (plain[0] == "mutants") return mutants(options);
  if (plain[0] == "replay" && plain.size() == 2) return replay(plain[1]);
  if (plain[0] == "sample" && plain.size() == 2) return sample(options, plain[1]);
  if (plain[0] == "export" && plain.size() == 3) return export_state(plain[1], plain[2]) ? 0 : 1;
  return usage();
}

}  // namespace
}  // namespace openvhd::test

#if defined(__SANITIZE_ADDRESS__)
/// Memory that was given back stays out of use for less long: half of the time went into it.
extern "C" const char* __asan_default_options() {
  return "quarantine_size_mb=2:thread_local_quarantine_size_kb=64:malloc_context_size=4";
}
#endif

int main(int argc, char** argv) { return openvhd::test::run({argv + 1, argv + argc}); }
