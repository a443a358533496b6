#include "crash/explore.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "base/checked.hpp"
#include "crash/judge.hpp"
#include "crash/order.hpp"
#include "crash/session.hpp"
#include "support/crash_states.hpp"

namespace openvhd::test {
namespace {

/// How a state is put together.
struct Model {
  std::uint64_t unit = 4096;
  bool stale = false;
};
/// The last one is more than a device promises: metadata tears within a sector too.
constexpr Model kModels[] = {{4096, false}, {512, false}, {4096, true}, {512, true}, {8, false}};
/// A state that is crashed again while it recovers is so as often as this.
constexpr unsigned kNestedEach = 2;
/// Runs that differ from seed to seed get so many states each.
constexpr std::uint64_t kStatesPerRun = 1200;

const Surroundings kNothingAround;

std::uint64_t hash_of(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

std::string hex_of(const std::vector<bool>& bits) {
  std::string out;
  for (std::size_t i = 0; i < bits.size(); i += 4) {
    unsigned digit = 0;
    for (std::size_t k = i; k < std::min(i + 4, bits.size()); ++k)
      digit |= static_cast<unsigned>(bits[k]) << (k - i);
    out += "0123456789abcdef"[digit];
  }
  return out.empty() ? "-" : out;
}

std::vector<bool> bits_of(const std::string& hex, std::size_t count) {
  std::vector<bool> out(count);
  for (std::size_t i = 0; i < count && i / 4 < hex.size(); ++i) {
    const char c = hex[i / 4];
    const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
    out[i] = (digit >> (i % 4) & 1) != 0;
  }
  return out;
}

/// Where blocks begin, as create() lays images out; what is before them is metadata alone.
std::uint64_t payload_from(const Shape& shape) {
  if (shape.format == Format::vhdx) return 3 * kMiB + shape.log_bytes;
  if (shape.type == DiskType::fixed) return 0;
  return 1536 + align_up(div_ceil(shape.virtual_size, shape.block_size) * 4, 512);
}

/// One recorded run of a workload.
class Run {
 public:
  Run(const Workload& workload, std::uint64_t seed, const ExploreOptions& options)
      : workload_{workload},
        seed_{seed},
        options_{options},
        actor_{workload.shape, seed, options.run != nullptr ? *options.run : kNothingAround} {
    workload.run(actor_);
    cuts_ = crash_cuts(actor_.disk(), actor_.from_tick());
  }

  const Actor& actor() const { return actor_; }
  const std::vector<CrashCut>& cuts() const { return cuts_; }

  CrashPoint point(std::size_t cut, const Model& model) const {
    return {actor_.disk(),
            cuts_[cut].tick,
            {.unit = model.unit,
             .stale_extension = model.stale,
             .payload_from = payload_from(workload_.shape),
             .payload_unit = workload_.shape.sector,
             .in_flight = cuts_[cut].in_flight}};
  }
  std::string name(std::size_t cut, const Model& model, const std::vector<bool>& keep) const {
    return std::string{workload_.name} + '/' + std::to_string(seed_) + '/' +
           std::to_string(model.unit) + (model.stale ? "s/" : "/") + std::to_string(cut) + '/' +
           hex_of(keep);
  }
  std::string broken_order() const {
    std::vector<std::uint64_t> ticks;
    for (const OpenedIds& open : actor_.opens()) ticks.push_back(open.at);
    return test::broken_order(workload_.shape, actor_.disk(), ticks);
  }
  Allowed allowed(std::size_t cut) const {
    const std::uint64_t tick = cuts_[cut].tick;
    return actor_.allowed(tick, cuts_[cut].in_flight ? tick : tick - (tick > 0 ? 1 : 0));
  }
  std::shared_ptr<MemoryStore> state(const CrashPoint& point, const std::vector<bool>& keep) const {
    auto store = point.state(keep);
    if (options_.tamper) options_.tamper(*store);
    return store;
  }
  Judgement judge(const std::string& name, const MemoryStore& state, const Allowed& allowed) const {
    const std::uint64_t hash = hash_of(name);
    return judge_state(workload_.shape, state, allowed,
                       {.around = options_.recover,
                        .seed = hash,
                        .opens = actor_.opens(),
                        .nested = hash / 64 % options_.nested_every == 0 ? kNestedEach : 0});
  }

 private:
  const Workload& workload_;
  std::uint64_t seed_;
  const ExploreOptions& options_;
  Actor actor_;
  std::vector<CrashCut> cuts_;
};

/// What may be looked at: one cut under one model.
struct Choice {
  std::size_t cut = 0;
  const Model* model = nullptr;
  std::size_t atoms = 0;
  std::uint64_t budget = 0;
};

/// Small ones whole, the rest of the budget evenly for the large ones.
void share_out(std::vector<Choice>& choices, std::uint64_t budget) {
  std::ranges::stable_sort(choices, {}, &Choice::atoms);
  std::uint64_t left = choices.size();
  for (Choice& choice : choices) {
    const std::uint64_t all = choice.atoms < 40 ? std::uint64_t{1} << choice.atoms : ~0ull;
    choice.budget = std::min(all, std::max<std::uint64_t>(1, budget / left));
    budget -= std::min(budget, choice.budget);
    --left;
  }
}

std::vector<Choice> choices_of(const Run& run) {
  std::vector<Choice> out;
  for (std::size_t cut = 0; cut < run.cuts().size(); ++cut) {
    std::size_t whole = 0;
    for (const Model& model : kModels) {
      const CrashPoint point = run.point(cut, model);
      if (model.unit == 4096 && !model.stale) whole = point.optional_atoms();
      // Nothing tears, or nothing grows: the states are those of the first model.
      const bool same = point.optional_atoms() == whole && (!model.stale || !point.can_be_stale());
      if (&model == &kModels[0] || !same) out.push_back({cut, &model, point.optional_atoms(), 0});
    }
  }
  return out;
}

std::string command_for(const std::string& name, const std::string& wrong) {
  return name + ": " + wrong + "\n  once more: crash_lab replay " + name;
}

void explore_run(const Run& run, std::uint64_t budget, std::uint64_t nested_every,
                 ExploreResult& result) {
  auto choices = choices_of(run);
  // A nested state is one more; what they will be is known on average.
  share_out(choices, budget * nested_every / (nested_every + kNestedEach));
  const std::uint64_t end = result.states + budget;
  bool all = true;
  for (const Choice& choice : choices) {
    const CrashPoint point = run.point(choice.cut, *choice.model);
    const Allowed allowed = run.allowed(choice.cut);
    const auto survivors = choose_survivors(choice.atoms, choice.budget, choice.cut + 1);
    ++result.cuts;
    for (const auto& keep : survivors) {
      if (result.states >= end && choice.atoms > 0) {
        result.all = false;
        return;
      }
      const std::string name = run.name(choice.cut, *choice.model, keep);
      const Judgement judgement = run.judge(name, *run.state(point, keep), allowed);
      result.states += 1 + judgement.nested;
      result.nested += judgement.nested;
      if (!judgement.wrong.empty()) {
        result.failure = command_for(name, judgement.wrong);
        return;
      }
    }
    const bool whole = choice.atoms < 40 && survivors.size() == std::uint64_t{1} << choice.atoms;
    result.exhausted += whole ? 1 : 0;
    all = all && whole;
  }
  result.all = all;
}

}  // namespace

ExploreResult explore(const Workload& workload, const ExploreOptions& options) {
  ExploreResult result;
  for (std::uint64_t seed = options.seed; result.states < options.states; ++seed) {
    const Run run{workload, seed, options};
    if (const std::string wrong = run.actor().trouble();
        !wrong.empty() && workload.shape.capacity == MemoryStore::kMaxBytes) {
      result.failure = std::string{workload.name} + ", seed " + std::to_string(seed) + ": " + wrong;
      return result;
    }
    if (const std::string wrong = run.broken_order(); !wrong.empty()) {
      result.failure = std::string{workload.name} + ", seed " + std::to_string(seed) + ": " + wrong;
      return result;
    }
    const bool many = run.actor().used_random();
    const std::uint64_t left = options.states - result.states;
    explore_run(run, many ? std::min(left, kStatesPerRun) : left, options.nested_every, result);
    if (!result.failure.empty() || !many) break;
  }
  return result;
}

namespace {

struct StateName {
  std::string workload;
  std::uint64_t seed = 0;
  Model model{};
  std::size_t cut = 0;
  std::string atoms;
};

std::optional<StateName> parse_name(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in{text};
  for (std::string part; std::getline(in, part, '/');) parts.push_back(part);
  if (parts.size() != 5) return std::nullopt;
  return StateName{.workload = parts[0],
                   .seed = std::strtoull(parts[1].c_str(), nullptr, 10),
                   .model = {.unit = std::strtoull(parts[2].c_str(), nullptr, 10),
                             .stale = parts[2].ends_with('s')},
                   .cut = std::strtoull(parts[3].c_str(), nullptr, 10),
                   .atoms = parts[4]};
}

}  // namespace

std::string replay_state(const std::string& name, const ExploreOptions& options) {
  const auto parsed = parse_name(name);
  const Workload* const workload = parsed ? find_workload(parsed->workload) : nullptr;
  if (workload == nullptr) return "no such state: " + name;
  const Run run{*workload, parsed->seed, options};
  if (parsed->cut >= run.cuts().size()) return "no such cut";
  const CrashPoint point = run.point(parsed->cut, parsed->model);
  const auto keep = bits_of(parsed->atoms, point.optional_atoms());
  return run.judge(name, *run.state(point, keep), run.allowed(parsed->cut)).wrong;
}

std::vector<std::string> sample_names(const Workload& workload, std::size_t count) {
  const ExploreOptions options;
  const Run run{workload, 1, options};
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t cut = (2 * i + 1) * run.cuts().size() / (2 * count);
    const Model& model = kModels[i % std::size(kModels)];
    const std::size_t atoms = run.point(cut, model).optional_atoms();
    const auto survivors = choose_survivors(atoms, 32, i);
    out.push_back(run.name(cut, model, survivors[(7 * i) % survivors.size()]));
  }
  return out;
}

namespace {

bool write_store(const MemoryStore& store, const std::string& path) {
  std::ofstream out{path, std::ios::binary | std::ios::trunc};
  std::vector<char> buffer(MemoryStore::kPageBytes);
  for (std::uint64_t at = store.first_data(0, store.size); at < store.size;
       at = store.first_data(at, store.size)) {
    const std::size_t got = store.read(at, std::as_writable_bytes(std::span{buffer}));
    out.seekp(static_cast<std::streamoff>(at));
    out.write(buffer.data(), static_cast<std::streamsize>(got));
    at += got;
  }
  out.close();
  return out && ::truncate(path.c_str(), static_cast<off_t>(store.size)) == 0;
}

bool write_contents(const Shape& shape, const Contents& contents, const std::string& path) {
  MemoryStore raw;
  raw.set_size(shape.virtual_size);
  for (const IdRun& run : contents.runs()) {
    if (run.id == kZeroId) continue;
    std::vector<std::byte> bytes(run.count * shape.sector);
    stamp(bytes, shape.sector, run.first, run.id);
    raw.write(run.first * shape.sector, bytes);
  }
  return write_store(raw, path);
}

}  // namespace

bool export_state(const std::string& name, const std::string& path, const std::string& contents) {
  const auto parsed = parse_name(name);
  const Workload* const workload = parsed ? find_workload(parsed->workload) : nullptr;
  if (workload == nullptr) return false;
  const ExploreOptions options;
  const Run run{*workload, parsed->seed, options};
  if (parsed->cut >= run.cuts().size()) return false;
  const CrashPoint point = run.point(parsed->cut, parsed->model);
  const auto store = point.state(bits_of(parsed->atoms, point.optional_atoms()));
  if (!write_store(*store, path)) return false;
  if (contents.empty()) return true;
  const SecondOpinion opinion = second_opinion(workload->shape, *store);
  return opinion.wrong.empty() && write_contents(workload->shape, opinion.contents, contents);
}

}  // namespace openvhd::test
