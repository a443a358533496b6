#include "crash/faults.hpp"

#include <algorithm>
#include <cerrno>

#include "crash/judge.hpp"
#include "support/crash_states.hpp"

namespace openvhd::test {
namespace {

using Kind = IoCommand::Kind;

struct Fault {
  int error = 0;
  bool sticky = false;
};

/// How a host fails a command of this kind.
std::vector<Fault> faults_of(Kind kind) {
  switch (kind) {
    case Kind::read:
    case Kind::sync:
      return {{EIO, false}, {EIO, true}};
    case Kind::write:
    case Kind::zero:
    case Kind::punch:
      return {{EIO, false}, {EIO, true}, {ENOSPC, false}};
    case Kind::reserve:
      return {{ENOSPC, false}, {ENOSPC, true}, {EDQUOT, false}, {EIO, false}};
    case Kind::set_size:
      return {{EIO, false}, {EIO, true}, {ENOSPC, false}};
  }
  return {};
}

bool changes(Kind kind) { return kind != Kind::read; }

class Injection {
 public:
  /// `nth` of its kind is the command that fails, if all after it do because the host is full.
  Injection(const Workload& workload, std::uint64_t seed, const SimDisk::Op& op, std::uint64_t nth,
            const Fault& fault)
      : workload_{workload}, seed_{seed}, tick_{op.tick}, fault_{fault}, kind_{op.kind} {
    const bool full = fault.sticky && fault.error == ENOSPC;
    around_.disk = [=, this](SimDisk& disk) {
      disk.fail({.kind = full ? std::optional{kind_} : std::nullopt,
                 .nth = full ? nth : tick_,
                 .error = fault_.error,
                 .sticky = fault_.sticky});
    };
  }

  std::string run(std::map<std::string, std::uint64_t>& sites) {
    Actor actor{workload_.shape, seed_, around_};
    workload_.run(actor);
    for (const Actor::Failure& failure : actor.failures()) {
      if (failure.error.sys_errno != 0 || failure.error.code == Errc::no_space) {
        ++sites[failure.error.what];
        break;
      }
    }
    if (auto wrong = told(actor); !wrong.empty()) return wrong;
    if (auto wrong = silent(actor); !wrong.empty()) return wrong;
    return left_behind(actor);
  }

 private:
  /// The failure shows, and as what it was.
  std::string told(const Actor& actor) const {
    // A host may refuse to give room, to take it back, or to zero: there are other ways then.
    const bool may_be_helped =
        kind_ == Kind::reserve || kind_ == Kind::punch || kind_ == Kind::zero;
    if (actor.failures().empty()) return may_be_helped ? "" : "nobody was told of it";
    const Errc expected = fault_.error == EIO ? Errc::io : Errc::no_space;
    const Errc code = actor.failures().front().error.code;
    if (code != expected && workload_.shape.capacity == MemoryStore::kMaxBytes)
      return std::string{"told as "} + to_string(code);
    // A full host changes nothing: what was written before can be flushed (e.2).
    if (kind_ != Kind::reserve || fault_.error == EIO) return {};
    for (const Actor::Failure& failure : actor.failures())
      if (failure.call == "flush" || failure.call == "close")
        return failure.call + " fails because a block found no room";
    return {};
  }

  /// After a failed sync nothing is changed until the image is opened again (e.2).
  std::string silent(const Actor& actor) const {
    // What was already on its way beside it is not held back.
    if (kind_ != Kind::sync || actor.used_together()) return {};
    std::uint64_t next_open = ~std::uint64_t{0};
    for (const OpenedIds& open : actor.opens())
      if (open.at > tick_) next_open = std::min(next_open, open.at);
    for (const SimDisk::Op& op : actor.disk().ops())
      if (op.tick > tick_ && op.tick < next_open && changes(op.kind))
        return "command " + std::to_string(op.tick) + " comes after a failed sync";
    return {};
  }

  /// What the process, or the machine, leaves when it ends here.
  std::string left_behind(Actor& actor) const {
    actor.disk().clear_faults();
    const std::uint64_t now = actor.disk().power().now();
    const Allowed allowed = actor.allowed(now, now);
    const auto judged = [&](const MemoryStore& state) {
      return judge_state(workload_.shape, state, allowed,
                         {.around = nullptr, .seed = tick_ * 31 + seed_})
          .wrong;
    };
    if (tick_ % 2 == 0) {
      const std::string wrong = judged(actor.disk().now());
      return wrong.empty() ? wrong : "the process dies: " + wrong;
    }
    const CrashPoint point{actor.disk(), now, {}};
    std::vector<bool> keep(point.optional_atoms());
    for (std::size_t i = 0; i < keep.size(); ++i) keep[i] = (i * 7 + tick_) % 3 == 0;
    const std::string wrong = judged(*point.state(keep));
    return wrong.empty() ? wrong : "the machine dies: " + wrong;
  }

  const Workload& workload_;
  std::uint64_t seed_;
  std::uint64_t tick_;
  Fault fault_;
  Kind kind_;
  Surroundings around_;
};

/// Commands that fail while what a crash left is being recovered.
void fault_recoveries(const Workload& workload, const Actor& actor, const FaultOptions& options,
                      FaultResult& result) {
  const auto cuts = crash_cuts(actor.disk(), actor.from_tick());
  for (std::size_t i = options.from % 4; i < cuts.size() && result.failure.empty(); i += 4) {
    const CrashPoint point{actor.disk(), cuts[i].tick, {}};
    const std::vector<bool> keep(point.optional_atoms(), i % 8 < 4);
    const Judgement judgement =
        judge_state(workload.shape, *point.state(keep), actor.allowed(cuts[i].tick, cuts[i].tick),
                    {.around = nullptr, .seed = i, .faults = true});
    result.recovery += judgement.nested;
    if (!judgement.wrong.empty())
      result.failure =
          std::string{workload.name} + ", cut " + std::to_string(i) + ": " + judgement.wrong;
  }
}

}  // namespace

FaultResult inject_faults(const Workload& workload, const FaultOptions& options) {
  FaultResult result;
  const Surroundings around;
  Actor base{workload.shape, options.seed, around};
  const std::uint64_t created = base.from_tick();
  workload.run(base);
  std::map<Kind, std::uint64_t> of_kind;
  for (const SimDisk::Op& op : base.disk().ops()) {
    const std::uint64_t nth = of_kind[op.kind]++;
    if (op.tick < created || (op.tick - created) % options.every != options.from % options.every)
      continue;
    for (const Fault& fault : faults_of(op.kind)) {
      Injection injection{workload, options.seed, op, nth, fault};
      const std::string wrong = injection.run(result.sites);
      ++result.runs;
      if (wrong.empty()) continue;
      result.failure = std::string{workload.name} + ": command " + std::to_string(op.tick) +
                       (fault.sticky ? " and all after it fail with " : " fails with ") +
                       std::to_string(fault.error) + ": " + wrong;
      return result;
    }
  }
  fault_recoveries(workload, base, options, result);
  return result;
}

}  // namespace openvhd::test
