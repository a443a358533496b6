#include "support/crash_states.hpp"

#include <algorithm>
#include <random>
#include <set>

#include "base/checked.hpp"

namespace openvhd::test {

CrashPoint::CrashPoint(const SimDisk& disk, std::uint64_t tick, const CrashOptions& options)
    : options_{options}, base_{disk.initial()} {
  for (const SimDisk::Op& op : disk.ops()) {
    if (op.tick > tick || (op.tick == tick && !options.in_flight)) break;
    if (op.result >= 0) add_op(op, op.stable_at < tick);
  }
}

void CrashPoint::add(const Atom& atom) {
  if (atom.optional) ++optional_;
  if (optional_ == 0)
    apply(base_, atom);
  else
    atoms_.push_back(atom);
}

void CrashPoint::add_op(const SimDisk::Op& op, bool stable) {
  using Kind = IoCommand::Kind;
  const auto plain = [&](Atom::Kind kind) {
    add({.kind = kind, .optional = !stable, .at = op.at, .length = op.length});
  };
  switch (op.kind) {
    case Kind::read:
    case Kind::sync:
      return;
    case Kind::zero:
      return plain(Atom::Kind::zero);
    case Kind::punch:
      return plain(Atom::Kind::punch);
    case Kind::reserve:
      return plain(Atom::Kind::reserve);
    case Kind::set_size:
      return plain(Atom::Kind::resize);
    case Kind::write:
      break;
  }
  // What is stable can be read: then the file also is long enough.
  if (stable || op.at + op.length > op.size_before) plain(Atom::Kind::grow);
  if (stable) {  // whole, then: it cannot have torn
    add({.kind = Atom::Kind::data, .at = op.at, .length = op.length, .bytes = op.bytes});
    return;
  }
  for (std::uint64_t done = 0; done < op.length;) {
    const std::uint64_t unit = op.at + done < options_.payload_from
                                   ? options_.unit
                                   : std::max(options_.unit, options_.payload_unit);
    const std::uint64_t to_boundary = unit - (op.at + done) % unit;
    const std::uint64_t piece = std::min(op.length - done, to_boundary);
    add({.kind = Atom::Kind::data,
         .optional = true,
         .at = op.at + done,
         .length = piece,
         .bytes = std::span{op.bytes}.subspan(done, piece)});
    done += piece;
  }
}

void CrashPoint::apply(MemoryStore& store, const Atom& atom) const {
  const std::uint64_t end = atom.at + atom.length;
  const std::uint64_t inside = std::min(end, store.size);
  switch (atom.kind) {
    case Atom::Kind::data:
      // Bytes past the end of a file that has not grown are lost with the growth.
      if (inside > atom.at) store.write(atom.at, atom.bytes.first(inside - atom.at));
      return;
    case Atom::Kind::grow: {
      if (end <= store.size) return;
      const std::uint64_t from = std::max(store.size, atom.at);
      store.set_size(end);
      if (options_.stale_extension) store.write(from, std::vector<std::byte>(end - from, kStale));
      return;
    }
    case Atom::Kind::resize:
      store.set_size(atom.at);
      return;
    case Atom::Kind::zero:
    case Atom::Kind::punch:
      if (inside > atom.at) store.zero(atom.at, inside - atom.at, atom.kind == Atom::Kind::punch);
      return;
    case Atom::Kind::reserve:
      if (atom.length > 0) store.reserve(atom.at, atom.length);
      return;
  }
}

bool CrashPoint::can_be_stale() const {
  return std::ranges::any_of(
      atoms_, [](const Atom& atom) { return atom.optional && atom.kind == Atom::Kind::grow; });
}

std::shared_ptr<MemoryStore> CrashPoint::state(const std::vector<bool>& keep) const {
  auto store = std::make_shared<MemoryStore>(base_);
  std::size_t next = 0;
  for (const Atom& atom : atoms_)
    if (!atom.optional || keep.at(next++)) apply(*store, atom);
  return store;
}

std::vector<std::uint64_t> crash_ticks(const SimDisk& disk) {
  std::vector<std::uint64_t> ticks{0};
  for (const SimDisk::Op& op : disk.ops())
    if (op.kind != IoCommand::Kind::read && op.result >= 0) ticks.push_back(op.tick + 1);
  return ticks;
}

std::vector<CrashCut> crash_cuts(const SimDisk& disk, std::uint64_t from_tick) {
  std::vector<CrashCut> cuts;
  std::uint64_t end = from_tick;
  for (const SimDisk::Op& op : disk.ops()) {
    if (op.tick < from_tick) continue;
    end = op.tick + 1;
    if (op.kind == IoCommand::Kind::sync) cuts.push_back({op.tick, false});
    if (op.kind == IoCommand::Kind::write && op.durable) cuts.push_back({op.tick, true});
  }
  cuts.push_back({end, false});
  return cuts;
}

namespace {

constexpr std::size_t kExhaustive = 20;  // 2^20 choices are more than any budget

/// Choices, each once, until there are enough.
class Choices {
 public:
  Choices(std::size_t atoms, std::size_t budget) : atoms_{atoms}, budget_{budget} {}

  std::size_t left() const { return budget_ - std::min(budget_, chosen_.size()); }
  void add(std::vector<bool> keep) {
    if (left() > 0 && seen_.insert(keep).second) chosen_.push_back(std::move(keep));
  }
  /// About `most` of the `count` members of a family, evenly spread.
  template <class Make>
  void spread(std::size_t count, std::size_t most, Make make) {
    const std::size_t step = std::max<std::size_t>(1, count / std::max<std::size_t>(1, most));
    for (std::size_t i = 0; i < count && left() > 0; i += step) add(make(i));
  }
  /// All but the atoms of [from, to).
  std::vector<bool> without(std::size_t from, std::size_t to) const {
    std::vector<bool> keep(atoms_, true);
    std::fill(keep.begin() + static_cast<std::ptrdiff_t>(from),
              keep.begin() + static_cast<std::ptrdiff_t>(to), false);
    return keep;
  }
  std::vector<std::vector<bool>> take() { return std::move(chosen_); }

 private:
  std::size_t atoms_;
  std::size_t budget_;
  std::set<std::vector<bool>> seen_;
  std::vector<std::vector<bool>> chosen_;
};

}  // namespace

std::vector<std::vector<bool>> choose_survivors(std::size_t atoms, std::size_t budget,
                                                std::uint64_t seed) {
  Choices choices{atoms, budget};
  if (atoms <= kExhaustive && (std::size_t{1} << atoms) <= budget) {
    for (std::size_t mask = 0; mask < std::size_t{1} << atoms; ++mask) {
      std::vector<bool> keep(atoms);
      for (std::size_t i = 0; i < atoms; ++i) keep[i] = (mask >> i & 1) != 0;
      choices.add(std::move(keep));
    }
    return choices.take();
  }
  std::mt19937_64 random{seed};
  const std::size_t share = std::max<std::size_t>(1, budget / 6);
  choices.add(choices.without(0, 0));
  choices.add(choices.without(0, atoms));
  choices.spread(atoms, share, [&](std::size_t i) { return choices.without(i, atoms); });
  choices.spread(atoms, share, [&](std::size_t i) { return choices.without(i, i + 1); });
  choices.spread(atoms, share, [&](std::size_t i) {
    auto keep = choices.without(0, atoms);
    keep[i] = true;
    return keep;
  });
  choices.spread(share, share, [&](std::size_t) {
    const std::size_t a = random() % atoms;
    const std::size_t b = random() % atoms;
    return choices.without(std::min(a, b), std::max(a, b) + 1);
  });
  choices.spread(share, share, [&](std::size_t) {
    auto keep = choices.without(0, 0);
    keep[random() % atoms] = false;
    keep[random() % atoms] = false;
    return keep;
  });
  // The few tries more are for those that come up twice.
  for (std::size_t tries = 4 * budget; choices.left() > 0 && tries > 0; --tries) {
    std::vector<bool> keep(atoms);
    for (std::size_t i = 0; i < atoms; ++i) keep[i] = random() % 2 == 0;
    choices.add(std::move(keep));
  }
  return choices.take();
}

}  // namespace openvhd::test
