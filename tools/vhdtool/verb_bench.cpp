#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <fstream>
#include <openvhd/disk.hpp>

#include "bench_run.hpp"
#include "console.hpp"
#include "map_walk.hpp"
#include "progress_bar.hpp"
#include "qos_plan.hpp"
#include "qos_text.hpp"
#include "report_bench.hpp"
#include "shared_options.hpp"
#include "text.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

using openvhd::Access;
using openvhd::Errc;
using openvhd::Error;
using openvhd::MapEntry;

enum class Where : std::uint8_t { stored, disk };

constexpr std::uint64_t kMaxMemory = std::uint64_t{1} << 30;
constexpr std::uint64_t kDefaultSeconds = 5;
constexpr std::size_t kMostFiles = 64;

class Bench : public Verb {
 public:
  VerbText text() const override {
    return {
        .name = "bench",
        .summary = "Measures how fast a disk answers.",
        .description =
            {"Sends requests of one size to FILE through queues, --depth of them at a time in "
             "each, and tells how many were answered per second, how long they took, and what "
             "they cost: system calls, transfers, commits and syncs. Each queue has a thread of "
             "its own. Ends after --time or --count; without either after 5 seconds.",
             "The modes: read and write go to random places among what FILE stores, or with "
             "--range disk anywhere; alloc writes one request into each block that is not "
             "stored; trim gives stored blocks back, each as a whole. With --sequential they go "
             "through the disk in order. Files are opened with direct I/O unless --cached is "
             "given.",
             "Several FILEs are measured at the same time, each with queues of its own and as many "
             "requests. With --qos they keep to limits, and share what there is by reservations "
             "and weights: one --qos is a policy that all of them share; otherwise there is one "
             "for each FILE, in their order. --qos-host is what all of them together may ask for; "
             "when that is reached, what min= promises is served first, and the rest by weight=. "
             "--qos-file has all that in one file.",
             "With --online the layers, or the size, of FILE change while requests go on.",
             "All modes but read destroy what FILE holds, and are refused without --destroy."},
        .examples = {
            {"vhdtool bench disk.vhdx", "4 KiB reads at random, 32 at a time."},
            {"vhdtool bench disk.vhdx --raw", "The same from the file itself: the yardstick."},
            {"vhdtool bench new.vhdx --mode alloc --depth 1 --flush-every 1 --destroy",
             "Durable writes, each into a new block."},
            {"vhdtool bench a.vhdx b.vhdx --qos min=2000 --qos weight=300 --qos-host in-flight=8",
             "Two disks share a device: 2,000 operations a second go to the first, a quarter of "
             "the rest to it and three to the second."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "FILE", .help = "The image, or several."}, files_into(files_));
    declare_load(arguments);
    declare_limits(arguments);
    declare_online(arguments);
    arguments.option({.name = "--destroy",
                      .help = "What FILE holds may be lost: needed for every mode but read."},
                     flag_into(destroy_));
    arguments.option({.name = "--raw",
                      .help = "The file itself is the disk, whatever is in it. With this nothing "
                              "is written into a file that is an image."},
                     flag_into(raw_));
    arguments.option({.name = "--cached", .help = "Goes through the page cache."},
                     flag_clears(open_.direct));
    arguments.option({.name = "--table-cache",
                      .value = "SIZE",
                      .help = "Most memory for the tables of each file. 64M without it."},
                     amount_into(open_.table_cache_bytes));
    declare_format(arguments, open_.format);
    declare_parents(arguments, open_.parents);
    declare_json(arguments, json_);
    open_.direct = true;
  }

  ExitCode run(Console& console) override {
    if (json_) console.use_json();
    if (const auto problem = settle(); !problem.empty()) return console.usage("bench: " + problem);
    const bool reads = options_.mode == BenchMode::read && options_.online == OnlineWork::none;
    open_.access = reads ? Access::read_only : Access::read_write;
    std::deque<Subject> subjects;
    for (const auto& file : files_) {
      if (raw_ && destroy_ && is_image(file))
        return console.usage("bench: FILE is an image: --raw would write over its structures");
      openvhd::OpenReport seen;
      open_.report = &seen;
      auto disk = openvhd::Disk::open(file, open_);
      open_.report = nullptr;
      if (!disk) return console.fail(failure_of(disk.error(), seen, file));
      console.notes(seen.notes);
      subjects.push_back(Subject{.file = file, .disk = *std::move(disk), .options = options_});
    }
    return measure(console, subjects);
  }

 private:
  /// One FILE.
  struct Subject {
    std::string file;
    openvhd::Disk disk;
    BenchOptions options;
    std::optional<BenchRange> range = {};
    BenchSubject shown = {};
  };

  void declare_load(Arguments& arguments);
  void declare_limits(Arguments& arguments);
  void declare_online(Arguments& arguments);
  /// Takes over what was given. What is wrong with it, or empty.
  std::string settle();
  std::string settle_sizes();
  std::string settle_qos();
  bool is_image(const std::string& file) const;
  ExitCode measure(Console& console, std::deque<Subject>& subjects);
  void report(Console& console, const std::deque<Subject>& subjects, const BenchRun& run) const;
  openvhd::Result<BenchRange> find_range(openvhd::Disk& disk) const;
  bool belongs(const MapEntry& entry) const noexcept;

  std::vector<std::string> files_;
  openvhd::OpenOptions open_;
  BenchOptions options_;
  std::optional<Where> where_;
  std::optional<std::uint64_t> block_;
  std::optional<std::uint64_t> depth_;
  std::optional<std::uint64_t> queues_;
  std::optional<std::uint64_t> flush_every_;
  std::optional<std::uint64_t> seconds_;
  std::optional<std::uint64_t> seed_;
  std::vector<std::string> qos_;
  std::string qos_host_;
  std::string qos_file_;
  std::optional<QosPlan> plan_;
  bool destroy_ = false;
  bool raw_ = false;
  bool json_ = false;
};

void Bench::declare_load(Arguments& arguments) {
  arguments.option(
      {.name = "--mode", .value = "MODE", .help = "read, write, alloc or trim. read without it."},
      choice_into(options_.mode,
                  std::vector<std::pair<std::string, BenchMode>>{{"read", BenchMode::read},
                                                                 {"write", BenchMode::write},
                                                                 {"alloc", BenchMode::alloc},
                                                                 {"trim", BenchMode::trim}}));
  arguments.option({.name = "--block",
                    .value = "SIZE",
                    .help = "Bytes of a request, whole sectors. 4K without it; trim always takes "
                            "the blocks of FILE."},
                   amount_into(block_));
  arguments.option({.name = "--depth",
                    .value = "N",
                    .help = "Requests under way at once in each queue, 1 to 1024. 32 without it."},
                   number_into(depth_));
  arguments.option({.name = "--queues", .value = "N", .help = "1 to 64 queues. 1 without it."},
                   number_into(queues_));
  arguments.option({.name = "--range",
                    .value = "WHERE",
                    .help = "For read and write: stored, where FILE or a parent has data (for "
                            "write: where FILE has), or disk. stored without it."},
                   choice_into(where_, std::vector<std::pair<std::string, Where>>{
                                           {"stored", Where::stored}, {"disk", Where::disk}}));
  arguments.option({.name = "--sequential", .help = "In order, not at random."},
                   flag_into(options_.sequential));
  arguments.option({.name = "--flush-every",
                    .value = "N",
                    .help = "Sends a flush behind every N requests of a queue. Others go on "
                            "meanwhile."},
                   number_into(flush_every_));
  arguments.option({.name = "--durable", .help = "Each write is durable when it completes."},
                   flag_into(options_.durable));
  arguments.option(
      {.name = "--registered", .help = "Makes the buffers known to the kernel beforehand."},
      flag_into(options_.registered));
}

void Bench::declare_limits(Arguments& arguments) {
  arguments.option({.name = "--time", .value = "SECONDS", .help = "How long to go on."},
                   number_into(seconds_));
  arguments.option(
      {.name = "--count", .value = "N", .help = "How many requests in all, flushes not counted."},
      number_into(options_.count));
  arguments.option({.name = "--qos",
                    .value = "LIMITS",
                    .help = "What the queues of all FILEs together keep to or, given once for "
                            "each FILE, those of each: a list like iops=500,bps=10M of iops, bps, "
                            "iops-burst, bps-burst, iops-once, bps-once (above the burst, from "
                            "the start), io-size (bytes that count as one operation, 8K without "
                            "it), min (operations a second that are served first) and weight (1 "
                            "to 10000, 100 without it)."},
                   texts_into(qos_));
  arguments.option({.name = "--qos-host",
                    .value = "LIMITS",
                    .help = "What all FILEs together may ask for: a list of iops, bps, iops-burst, "
                            "bps-burst and in-flight (requests under way at once)."},
                   text_into(qos_host_));
  arguments.option({.name = "--qos-file",
                    .value = "PLAN",
                    .help = "A JSON file of host, policies, and the disks under them, instead of "
                            "--qos and --qos-host."},
                   file_into(qos_file_));
  arguments.option(
      {.name = "--seed", .value = "N", .help = "Another number gives other places. 0 without it."},
      number_into(seed_));
}

void Bench::declare_online(Arguments& arguments) {
  std::vector<std::pair<std::string, OnlineWork>> works;
  for (const auto work :
       {OnlineWork::resize, OnlineWork::checkpoint, OnlineWork::merge, OnlineWork::compact})
    works.emplace_back(online_work_name(work), work);
  arguments.option({.name = "--online",
                    .value = "WORK",
                    .help = "Changes FILE meanwhile, needs --destroy: resize (64 MiB more, and "
                            "less, again and again), checkpoint (one each second), merge (into "
                            "the parent, until one file is left) or compact."},
                   choice_into(options_.online, works));
  arguments.option({.name = "--online-rate",
                    .value = "SIZE",
                    .help = "Most bytes per second that merge and compact move. Without it as much "
                            "as leaves requests four fifths of the time."},
                   amount_into(options_.online_rate));
}

std::string Bench::settle() {
  const auto mode = options_.mode;
  if (options_.online != OnlineWork::none && (!destroy_ || raw_))
    return "--online changes an image: it needs --destroy, and not --raw";
  if (options_.online != OnlineWork::none && files_.size() != 1) return "--online is for one FILE";
  if (mode != BenchMode::read && !destroy_)
    return fmt::format("--mode {} destroys what FILE holds: --destroy says that it may",
                       bench_mode_name(mode));
  if (raw_ && open_.format && *open_.format != openvhd::Format::raw)
    return "--raw and another --format contradict each other";
  if (raw_) open_.format = openvhd::Format::raw;
  if (where_ && (mode == BenchMode::alloc || mode == BenchMode::trim))
    return "--range is for read and write";
  if (block_ && mode == BenchMode::trim) return "--block is not for trim";
  if (options_.durable && mode != BenchMode::write && mode != BenchMode::alloc)
    return "--durable is for writes";
  if (flush_every_ && mode == BenchMode::read) return "--flush-every is not for read";
  if (flush_every_ == 0 || seconds_ == 0 || options_.count == 0)
    return "--flush-every, --time and --count are 1 at least";
  if (seconds_ && *seconds_ > 86400) return "--time is a day at most";
  options_.flush_every = flush_every_.value_or(0);
  options_.seed = seed_.value_or(0);
  options_.seconds = seconds_.value_or(options_.count ? 0 : kDefaultSeconds);
  if (auto problem = settle_sizes(); !problem.empty()) return problem;
  return settle_qos();
}

std::string Bench::settle_sizes() {
  if (files_.size() > kMostFiles) return "there are 64 FILEs at most";
  options_.block = block_.value_or(options_.block);
  const auto depth = depth_.value_or(options_.depth);
  const auto queues = queues_.value_or(options_.queues);
  if (depth < 1 || depth > 1024) return "--depth is 1 to 1024";
  if (queues < 1 || queues > 64) return "--queues is 1 to 64";
  if (options_.block < 512 || options_.block > kMaxMemory / (depth * queues * files_.size()))
    return "--block is 512 bytes at least, and all requests under way 1 GiB at most";
  options_.depth = static_cast<std::uint32_t>(depth);
  options_.queues = static_cast<std::uint32_t>(queues);
  return {};
}

std::string Bench::settle_qos() {
  if (!qos_file_.empty()) {
    if (!qos_.empty() || !qos_host_.empty()) return "--qos-file goes without --qos and --qos-host";
    std::string text(kMostPlanBytes + 1, '\0');
    std::ifstream in{qos_file_, std::ios::binary};
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (in.bad() || in.gcount() == 0)
      return fmt::format("--qos-file: {}: cannot be read, or is empty", printable(qos_file_));
    text.resize(static_cast<std::size_t>(in.gcount()));
    auto parsed = plan_for(parse_plan(text), files_);
    if (!parsed.problem.empty())
      return fmt::format("--qos-file: {}: {}", printable(qos_file_), parsed.problem);
    plan_ = std::move(parsed.plan);
    return {};
  }
  if (qos_.empty() && qos_host_.empty()) return {};
  if (qos_.size() > 1 && qos_.size() != files_.size())
    return "--qos is given once, or once for each FILE";
  QosPlan& plan = plan_.emplace();
  for (const auto& text : qos_) {
    auto parsed = parse_qos(text);
    if (!parsed.problem.empty()) return "--qos: " + parsed.problem;
    plan.policies.push_back({.name = {}, .limits = parsed.limits});
  }
  if (!qos_host_.empty()) {
    auto parsed = parse_qos_host(qos_host_);
    if (!parsed.problem.empty()) return "--qos-host: " + parsed.problem;
    plan.host = parsed.limits;
  }
  if (qos_.empty()) plan.policies.resize(files_.size());
  for (std::size_t i = 0; i < files_.size(); ++i)
    plan.disks.push_back({.file = files_[i], .policy = plan.policies.size() == 1 ? 0 : i});
  return {};
}

bool Bench::is_image(const std::string& file) const {
  openvhd::OpenOptions look;
  look.access = Access::inspect;
  look.parents.open_parents = false;
  return openvhd::Disk::open(file, look).has_value();
}

bool Bench::belongs(const MapEntry& entry) const noexcept {
  const bool data = entry.kind == MapEntry::Kind::data;
  const bool in_leaf = data && entry.layer == 0;
  switch (options_.mode) {
    case BenchMode::read:
      return data;
    case BenchMode::write:
    case BenchMode::trim:
      return in_leaf;
    case BenchMode::alloc:
      break;
  }
  return !in_leaf;
}

openvhd::Result<BenchRange> Bench::find_range(openvhd::Disk& disk) const {
  const auto& geometry = disk.geometry();
  const bool blocks = options_.mode == BenchMode::alloc || options_.mode == BenchMode::trim;
  if (blocks && geometry.block_size == 0)
    return Error{.code = Errc::invalid, .what = "alloc and trim need an image that has blocks"};
  if (options_.block % geometry.logical_sector_size != 0)
    return Error{.code = Errc::misaligned, .what = "--block is not in whole sectors"};
  if (options_.mode == BenchMode::alloc && geometry.block_size % options_.block != 0)
    return Error{.code = Errc::invalid, .what = "--block does not divide the blocks of the image"};
  BenchRange range{blocks ? geometry.block_size : options_.block};
  if (where_ == Where::disk) {
    range.add(0, geometry.virtual_size);
  } else {
    ProgressBar bar{"map"};
    // A block is given back whole even where the host has little of it.
    const auto grain = options_.mode == BenchMode::trim ? geometry.block_size : 1;
    std::uint64_t end = 0;
    const auto status = walk_map(disk, bar, [&](const MapEntry& entry) {
      if (!belongs(entry)) return;
      const auto begin = std::max(end, entry.at.value / grain * grain);
      end = (entry.at.value + entry.length + grain - 1) / grain * grain;
      if (end > begin) range.add(begin, std::min(end, geometry.virtual_size) - begin);
    });
    if (!status) return status.error();
  }
  if (range.units() == 0) {
    return Error{.code = Errc::invalid,
                 .what = options_.mode == BenchMode::alloc
                             ? "every block is stored already: nothing to allocate"
                             : "nothing is stored here: write first, or take --range disk"};
  }
  return range;
}

ExitCode Bench::measure(Console& console, std::deque<Subject>& subjects) {
  const auto fail = [&](const Error& error, const Subject& subject) {
    return console.fail(
        failure_of(error, {.files = subject.disk.files(), .notes = {}}, subject.file));
  };
  std::vector<BenchJob> jobs;
  for (auto& subject : subjects) {
    auto range = find_range(subject.disk);
    if (!range) return fail(range.error(), subject);
    subject.range = *std::move(range);
    if (options_.mode == BenchMode::trim)
      subject.options.block = subject.disk.geometry().block_size;
    const auto& disk = subject.disk;
    subject.shown = {.file = subject.file,
                     .format = disk.format(),
                     .type = disk.type(),
                     .virtual_size = disk.geometry().virtual_size,
                     .range_bytes = subject.range->units() * subject.range->unit_bytes(),
                     .direct = open_.direct};
    jobs.push_back({.disk = subject.disk, .range = *subject.range, .options = subject.options});
  }
  std::optional<BenchFailure> failure;
  const auto run = run_bench(jobs, plan_ ? &*plan_ : nullptr, failure);
  if (failure) return fail(failure->error, subjects[failure->job]);
  for (auto& subject : subjects) {
    if (const auto closed = subject.disk.close(); !closed) return fail(closed.error(), subject);
  }
  report(console, subjects, run);
  return ExitCode::ok;
}

void Bench::report(Console& console, const std::deque<Subject>& subjects,
                   const BenchRun& run) const {
  Json disks = Json::array();
  for (std::size_t i = 0; i < subjects.size(); ++i) {
    const Subject& subject = subjects[i];
    std::optional<BenchQos> qos;
    if (plan_) qos.emplace(BenchQos{plan_->policies[plan_->disks[i].policy], plan_->disks[i]});
    const auto* of_disk = qos ? &*qos : nullptr;
    if (json_) {
      disks.push_back(bench_json(subject.shown, subject.options, run.disks[i], of_disk));
    } else {
      console.print(bench_text(subject.shown, subject.options, run.disks[i], of_disk));
    }
  }
  if (!json_) return;
  if (subjects.size() == 1) {
    console.print_json(disks.front());
  } else {
    console.print_json(bench_json(std::move(disks), plan_ ? &*plan_ : nullptr, run.host));
  }
}

}  // namespace

std::unique_ptr<Verb> bench_verb() { return std::make_unique<Bench>(); }

}  // namespace vhdtool
