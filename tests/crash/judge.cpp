#include "crash/judge.hpp"

#include "base/checked.hpp"
#include "crash/order.hpp"
#include "support/crash_states.hpp"

namespace openvhd::test {
namespace {

using Phase = Surroundings::Phase;

constexpr std::uint64_t kExtraId = std::uint64_t{1} << 40;

std::string failed(const char* what, const Error& error) {
  return std::string{what} + ": " + describe(error, "image");
}

class Judge {
 public:
  Judge(const Shape& shape, const MemoryStore& state, const JudgeOptions& options, unsigned depth)
      : shape_{shape}, state_{state}, options_{options}, depth_{depth}, random_{options.seed} {
    const std::uint64_t block = random_() % (shape.sectors() / shape.block_sectors() + 1);
    const std::uint64_t near =
        random_() % 2 == 0 ? random_() % 16 : random_() % shape.block_sectors();
    extra_.id = kExtraId + depth;
    extra_.first = std::min(block * shape.block_sectors() + near, shape.sectors() - 1);
    extra_.count = 1;
  }

  Judgement run(const Allowed& allowed) {
    Judgement out;
    out.wrong = as_found(allowed);
    if (out.wrong.empty()) out.wrong = recovery();
    if (out.wrong.empty() && options_.nested > 0) out = crashes_within();
    if (out.wrong.empty() && options_.faults) out = failures_within();
    return out;
  }

 private:
  static const Surroundings& nothing_around() {
    static const Surroundings none;
    return none;
  }
  const Surroundings& around() const {
    return options_.around != nullptr ? *options_.around : nothing_around();
  }
  /// GUIDs that no other open of this image has drawn.
  std::unique_ptr<Host> host(std::uint64_t open) const {
    return around().make_host(100 * depth_ + open, options_.seed % 1000003 + 1000);
  }

  Result<std::unique_ptr<Session>> open(std::unique_ptr<File> file, bool writable, Host& host) {
    return Session::open(shape_, around().file(std::move(file), Phase::recover), writable, host);
  }

  std::string reads_as(Session& session, const Contents& expected, const char* when) {
    const auto contents = session.contents();
    if (!contents) return failed(when, contents.error());
    const std::string different = contents->difference(expected);
    return different.empty() ? different : std::string{when} + ": " + different;
  }

  /// The checker alone, the promises, and the engine without a write.
  std::string as_found(const Allowed& allowed) {
    found_ = second_opinion(shape_, state_);
    if (!found_.wrong.empty()) return "checker: " + found_.wrong;
    if (auto wrong = allowed.check(found_.contents); !wrong.empty()) return wrong;
    if (auto wrong = announced(); !wrong.empty()) return wrong;
    return reopened(state_, found_.contents, "read-only");
  }

  /// X19: what a session wrote is not to be seen before its ids are.
  std::string announced() const {
    if (shape_.format != Format::vhdx || options_.opens.empty()) return {};
    std::uint64_t newest = 0;
    for (const IdRun& run : found_.contents.runs())
      if (run.id != kForeignId) newest = std::max(newest, run.id);
    const OpenedIds* session = nullptr;
    for (const OpenedIds& open : options_.opens)
      if (open.first_id <= newest) session = &open;
    if (session == nullptr || newest <= kParentId) return {};
    if (found_.data_write_id == session->data_write_id)
      return "data changed before DataWriteGuid did (X19)";
    if (found_.file_write_id == session->file_write_id)
      return "the file changed before FileWriteGuid did (X19)";
    return {};
  }

  std::string reopened(const MemoryStore& state, const Contents& expected, const char* when) {
    const auto guids = host(1);
    auto session = open(std::make_unique<MemoryFile>(std::make_shared<MemoryStore>(state),
                                                     MemoryFile::Options{.writable = false}),
                        false, *guids);
    if (!session) return failed(when, session.error());
    return reads_as(**session, expected, when);
  }

  std::string judged(const MemoryStore& state, const Contents& expected, const char* when,
                     SecondOpinion& opinion) {
    opinion = second_opinion(shape_, state);
    if (!opinion.wrong.empty()) return std::string{when} + ", checker: " + opinion.wrong;
    const std::string different = opinion.contents.difference(expected);
    return different.empty() ? different : std::string{when} + ", checker: " + different;
  }

  /// X19: who writes says so first, and who only replays does not say that data changed.
  std::string ids(const SecondOpinion& after, bool wrote) const {
    if (shape_.format == Format::vhd)
      return after.data_write_id == found_.data_write_id ? "" : "the unique id changed (V02)";
    if (wrote && after.file_write_id == found_.file_write_id) return "FileWriteGuid stayed (X19)";
    if (wrote != (after.data_write_id != found_.data_write_id))
      return wrote ? "DataWriteGuid stayed (X19)" : "replay changed DataWriteGuid (X19)";
    return {};
  }

  /// As a machine that comes up again: replay, one write, a flush, and one of two ends.
  std::string recovery() {
    const auto store = std::make_shared<MemoryStore>(state_);
    store->capacity = MemoryStore::kMaxBytes;
    const auto guids = host(2);
    auto session = open(std::make_unique<MemoryFile>(store), true, *guids);
    if (!session) return failed("open for writing", session.error());
    if (auto wrong = reads_as(**session, found_.contents, "replayed"); !wrong.empty()) return wrong;
    SecondOpinion opinion;
    if (!found_.clean) {  // else the open has written nothing
      if (auto wrong = judged(*store, found_.contents, "replayed", opinion); !wrong.empty())
        return wrong;
      if (auto wrong = ids(opinion, false); !wrong.empty()) return wrong;
    }
    if (auto status = (*session)->write(extra_.first, 1, extra_.id); !status)
      return failed("write", status.error());
    if (auto status = (*session)->flush(); !status) return failed("flush", status.error());
    Contents expected = found_.contents;
    expected.put({extra_.first, 1, extra_.id});
    if (auto wrong = judged(*store, expected, "flushed", opinion); !wrong.empty()) return wrong;
    if (auto wrong = ids(opinion, true); !wrong.empty()) return wrong;
    const bool closes = random_() % 2 == 0;
    if (closes) {
      if (auto status = (*session)->close(); !status) return failed("close", status.error());
      if (auto wrong = judged(*store, expected, "closed", opinion); !wrong.empty()) return wrong;
      if (!opinion.clean) return "closed, and yet a log to replay or no footer (L01, V08)";
      if (shape_.format == Format::vhdx && store->size % kMiB != 0) return "closed: size (X18)";
    }
    session->reset();
    return reopened(*store, expected, closes ? "reopened after a close" : "reopened");
  }

  /// Power fails again while the image recovers: depth 2.
  Judgement crashes_within() {
    MemoryStore start{state_};
    start.capacity = MemoryStore::kMaxBytes;
    const auto disk = std::make_shared<SimDisk>(start);
    std::uint64_t wrote_at = 0;
    std::uint64_t flushed_at = 0;
    {
      const auto guids = host(2);
      auto session = open(std::make_unique<SimFile>(disk), true, *guids);
      if (!session) return {failed("open for writing, recorded", session.error())};
      wrote_at = disk->power().now();
      static_cast<void>((*session)->write(extra_.first, 1, extra_.id));
      static_cast<void>((*session)->flush());
      flushed_at = disk->power().now();
      if (random_() % 2 == 0) static_cast<void>((*session)->close());
    }
    Judgement out;
    out.wrong = broken_order(shape_, *disk, {0});
    const auto cuts = crash_cuts(*disk, 0);
    for (unsigned i = 0; i < options_.nested && out.wrong.empty(); ++i) {
      const CrashCut cut = cuts[random_() % cuts.size()];
      const CrashPoint point{*disk,
                             cut.tick,
                             {.unit = random_() % 2 == 0 ? 512u : 4096u,
                              .stale_extension = random_() % 4 == 0,
                              .payload_from = 0,
                              .payload_unit = shape_.sector,
                              .in_flight = cut.in_flight}};
      std::vector<bool> keep(point.optional_atoms());
      for (std::size_t k = 0; k < keep.size(); ++k) keep[k] = random_() % 2 == 0;
      Allowed allowed{found_.contents};
      if (cut.tick >= flushed_at)
        allowed.must(extra_);
      else if (cut.tick >= wrote_at)
        allowed.may(extra_);
      const auto state = point.state(keep);
      const OpenedIds before{0, extra_.id, found_.file_write_id, found_.data_write_id};
      out.wrong = Judge{shape_,
                        *state,
                        {.around = options_.around, .seed = random_(), .opens = {before}},
                        depth_ + 1}
                      .run(allowed)
                      .wrong;
      ++out.nested;
      if (!out.wrong.empty())
        out.wrong = "crashed again before command " + std::to_string(cut.tick) +
                    " of the recovery: " + out.wrong;
    }
    return out;
  }

  /// Each command of the recovery fails in turn: what was found is there when it is tried again.
  Judgement failures_within() {
    Judgement out;
    for (std::uint64_t nth = 0; out.wrong.empty(); ++nth) {
      for (const RecoveryFault fault : {RecoveryFault{5, false}, {5, true}, {28, false}}) {
        if (!fails_at(nth, fault, out)) return out;
        if (out.wrong.empty()) continue;
        out.wrong = "command " + std::to_string(nth) + " of the recovery failed with " +
                    std::to_string(fault.error) + ": " + out.wrong;
        return out;
      }
    }
    return out;
  }

  struct RecoveryFault {
    int error = 0;
    bool sticky = false;
  };

  /// False when there are not so many commands.
  bool fails_at(std::uint64_t nth, const RecoveryFault& fault, Judgement& out) {
    MemoryStore start{state_};
    start.capacity = MemoryStore::kMaxBytes;
    const auto disk = std::make_shared<SimDisk>(start);
    disk->fail({.kind = {}, .nth = nth, .error = fault.error, .sticky = fault.sticky});
    {
      const auto guids = host(2);
      auto session = open(std::make_unique<SimFile>(disk), true, *guids);
      if (session) {
        static_cast<void>((*session)->write(extra_.first, 1, extra_.id));
        static_cast<void>((*session)->flush());
        static_cast<void>((*session)->close());
      }
    }
    if (disk->power().now() <= nth) return false;
    Allowed allowed{found_.contents};
    allowed.may(extra_);
    out.wrong =
        Judge{shape_, disk->now(), {.around = options_.around, .seed = random_()}, depth_ + 1}
            .run(allowed)
            .wrong;
    ++out.nested;
    return true;
  }

  const Shape& shape_;
  const MemoryStore& state_;
  JudgeOptions options_;
  unsigned depth_;
  std::mt19937_64 random_;
  Change extra_;
  SecondOpinion found_;
};

}  // namespace

Judgement judge_state(const Shape& shape, const MemoryStore& state, const Allowed& allowed,
                      const JudgeOptions& options) {
  return Judge{shape, state, options, 1}.run(allowed);
}

}  // namespace openvhd::test
