#include "crash/mutants.hpp"

#include <algorithm>
#include <set>

#include "crash/mutant_file.hpp"

namespace openvhd::test {
namespace {

using Kind = Mutant::Kind;
using Phase = Surroundings::Phase;

MutantFile::Parts new_parts() { return std::make_shared<std::set<std::string>>(); }

/// Gives one of its GUIDs to every session.
class RepeatingHost final : public Host {
 public:
  RepeatingHost(std::uint64_t seed, unsigned repeated) : fresh_{seed}, repeated_{repeated} {}
  Guid random_guid() noexcept override {
    const Guid fresh = fresh_.random_guid();
    return drawn_++ == repeated_ ? Guid{{0xaa, 1, 2, 3, 4, 5, 0x46, 7, 0x88}} : fresh;
  }
  std::int64_t now_unix() noexcept override { return fresh_.now_unix(); }

 private:
  FixedHost fresh_;
  unsigned repeated_;
  unsigned drawn_ = 0;
};

// A session draws them in this order (lib/vhdx/journal.cpp).
constexpr const char* kGuids[] = {"FileWriteGuid", "DataWriteGuid", "LogGuid"};

Surroundings surroundings_of(const Mutant& mutant, const Shape& shape) {
  Surroundings out;
  out.wrap = [&mutant, &shape, parts = new_parts()](std::unique_ptr<File> below, Phase phase) {
    // A run goes on where the process before it died; a recovery begins with what was left.
    const auto mine = phase == Phase::run ? parts : new_parts();
    if (phase == Phase::create) parts->clear();
    return std::make_unique<MutantFile>(std::move(below), shape, phase, &mutant, nullptr, mine);
  };
  if (mutant.kind != Kind::same_guid) return out;
  const auto which = static_cast<unsigned>(
      std::ranges::find(kGuids, mutant.what, [](const char* name) { return std::string{name}; }) -
      std::begin(kGuids));
  out.host = [which](std::uint64_t open) -> std::unique_ptr<Host> {
    const std::uint64_t seed = 2 * open + 1;
    if (open == 0) return std::make_unique<FixedHost>(seed);
    return std::make_unique<RepeatingHost>(seed, which);
  };
  return out;
}

struct Step {
  std::string name;
  bool sync = false;
  friend auto operator<=>(const Step&, const Step&) = default;
};

/// The steps of one workload and of the recovery after it.
std::set<Step> steps_of(const Workload& workload) {
  std::set<Step> steps;
  Surroundings around;
  const auto parts = new_parts();
  around.wrap = [&](std::unique_ptr<File> below, Phase phase) {
    if (phase == Phase::create) parts->clear();
    return std::make_unique<MutantFile>(
        std::move(below), workload.shape, phase, nullptr,
        [&steps](const std::string& step, bool sync) { steps.insert({step, sync}); },
        phase == Phase::run ? parts : new_parts());
  };
  static_cast<void>(
      explore(workload, {.states = 60, .run = &around, .recover = &around, .tamper = {}}));
  return steps;
}

const std::map<std::string, std::set<Step>>& steps_by_workload() {
  static const auto all = [] {
    std::map<std::string, std::set<Step>> out;
    for (const Workload& workload : workloads()) out[workload.name] = steps_of(workload);
    return out;
  }();
  return all;
}

/// Steps that may go without anybody ever knowing, and why.
std::string harmless(Kind kind, const std::string& step) {
  if (step.ends_with(": nothing")) return "nothing has changed since the sync before it";
  // What follows a cut at a close; growth is never alone, its footer comes before the sync.
  if (step.starts_with("vhd ") && step.ends_with(" size") && !step.ends_with("footer size"))
    return "a file that was not cut after all ends with the footer that it had";
  if (step.ends_with(": size")) return "a file that was not cut after all is as good, only longer";
  if (kind == Kind::late_sync && step == "vhd run: copy")
    return "the command that follows only reserves space";
  return {};
}

bool concerns(const Mutant& mutant, const Workload& workload) {
  switch (mutant.kind) {
    case Kind::drop_sync:
    case Kind::late_sync:
      return steps_by_workload().at(workload.name).contains({mutant.what, true});
    case Kind::plain_write:
      return steps_by_workload().at(workload.name).contains({mutant.what, false});
    default:
      return workload.shape.format == Format::vhdx;
  }
}

}  // namespace

std::string Mutant::name() const {
  switch (kind) {
    case Kind::drop_sync:
      return "no sync, " + what;
    case Kind::late_sync:
      return "late sync, " + what;
    case Kind::plain_write:
      return "write not durable, " + what;
    case Kind::one_header:
      return "both headers in one place";
    case Kind::no_checksum:
      return "no checksum written, " + what;
    case Kind::unread_checksum:
      return "checksum not looked at, " + what;
    case Kind::same_guid:
      return "not renewed, " + what;
    case Kind::flushed_too_far:
      return "FlushedFileOffset too far";
  }
  return {};
}

std::vector<Mutant> all_mutants() {
  std::set<Step> steps;
  for (const auto& [name, some] : steps_by_workload()) steps.insert(some.begin(), some.end());
  std::vector<Mutant> out;
  const auto add = [&out](Kind kind, const std::string& what) {
    out.push_back({kind, what, harmless(kind, what)});
  };
  for (const Step& step : steps) {
    if (step.sync) {
      add(Kind::drop_sync, step.name);
      add(Kind::late_sync, step.name);
    } else {
      add(Kind::plain_write, step.name);
    }
  }
  add(Kind::one_header, "");
  for (const char* what : {"header", "log"}) {
    add(Kind::no_checksum, what);
    add(Kind::unread_checksum, what);
  }
  for (const char* what : kGuids) add(Kind::same_guid, what);
  add(Kind::flushed_too_far, "");
  return out;
}

MutantResult try_mutant(const Mutant& mutant, std::uint64_t states) {
  std::vector<const Workload*> list;
  for (const Workload& workload : workloads())
    if (concerns(mutant, workload)) list.push_back(&workload);
  MutantResult out;
  // Many workloads a little first, then all that is left: what shows it is often one of them.
  for (const std::uint64_t round : {std::uint64_t{4}, std::uint64_t{1}}) {
    for (const Workload* workload : list) {
      const Surroundings around = surroundings_of(mutant, workload->shape);
      ExploreOptions options{
          .states = std::max<std::uint64_t>(states / round / list.size(), 30),
          .run = &around,
          .recover = &around,
          .nested_every = mutant.what.find("recover") != std::string::npos ? 1u : 8u,
          .tamper = {}};
      if (mutant.kind == Kind::unread_checksum)
        options.tamper = [&](MemoryStore& store) { reseal(store, mutant.what == "header"); };
      const ExploreResult result = explore(*workload, options);
      out.states += result.states;
      if (result.failure.empty()) continue;
      out.noticed = true;
      out.failure = result.failure.substr(0, result.failure.find('\n'));
      return out;
    }
  }
  return out;
}

}  // namespace openvhd::test
