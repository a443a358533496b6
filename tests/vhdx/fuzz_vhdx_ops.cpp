// A script of operations on a new VHDX, with a failing command, and a power cut in between. Each
// byte pair of the input is one operation; what the cut leaves must be sound, and old or new sector
// by sector.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "base/checked.hpp"
#include "support/bytes.hpp"
#include "vhdx/engine_crash_file.hpp"
#include "vhdx/engine_fixture.hpp"
#include "vhdx/engine_model.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd::test {
namespace {

constexpr std::size_t kMostOperations = 48;
constexpr std::uint64_t kWindow = 64 * kKiB;

void demand(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what.c_str());
  std::abort();
}

EngineShape shape_of(unsigned bits) {
  EngineShape out{.virtual_size = 6 * kMiB + 4096};
  if ((bits & 1) != 0) out.has_parent = true;
  if ((bits & 2) != 0) out.sector_size = 4096;
  // Several chunks.
  if ((bits & 4) != 0) out = {9000 * kMiB, 2 * kMiB, out.sector_size, out.has_parent};
  return out;
}

/// What was asked of an image, and what it may hold after a cut.
class Script {
 public:
  explicit Script(const EngineShape& shape)
      : shape_{shape}, store_{make_image(shape)}, start_{*store_}, model_{shape, kWindow, 6, 1} {
    image_ = std::make_unique<OpenEngine>(store_, shape, true, [&](std::unique_ptr<File> below) {
      auto file = std::make_unique<RecordingFile>(std::move(below), history_);
      file_ = file.get();
      return file;
    });
  }

  void fail(std::uint64_t number, std::int32_t code) {
    file_->fault = [this, number, code](const IoCommand& command) {
      // A payload write that fails is the operation's, which this fixture does not have.
      const bool counts = command.kind != IoCommand::Kind::read && !payload(command);
      return counts && commands_++ == number ? code : 0;
    };
  }

  void operate(unsigned kind, unsigned place) {
    const auto& windows = model_.windows();
    const auto& window = windows[place % windows.size()];
    const std::uint64_t sectors = window.tags.size();
    const std::uint64_t first = place / windows.size() * sectors / 64 % sectors;
    const std::uint64_t count = std::min(sectors - first, std::uint64_t{1} + kind / 8);
    const std::uint64_t at = window.at + first * shape_.sector_size;
    const std::uint64_t length = count * shape_.sector_size;
    switch (kind % 8) {
      case 0:
      case 1:
      case 2:
        return write(at, length);
      case 3:
        return clear(at, length, ClearKind::zero);
      case 4:
        return clear(at, length, ClearKind::trim);
      case 5: {
        const std::uint64_t block = align_down(at, shape_.block_size);
        return clear(block, std::min(shape_.block_size, shape_.virtual_size - block),
                     ClearKind::trim);
      }
      default:
        if (image_->flush()) flushed();
    }
  }

  void close() {
    if (image_->close()) flushed();
  }

  std::size_t events() const { return history_.size(); }

  std::shared_ptr<MemoryStore> cut_at(std::size_t cut, Survival survival,
                                      std::uint64_t seed) const {
    PowerCut power{start_, history_, bat_offset(shape_) + kMiB, shape_.sector_size};
    std::mt19937_64 random{seed};
    return power.after(cut, survival, random);
  }

  void judge(const std::shared_ptr<MemoryStore>& state, std::size_t cut) const {
    DiskModel durable = model_;
    std::vector<DiskModel::Open> open;
    for (const Mark& mark : marks_) {
      if (mark.events > cut) break;
      if (!mark.flush) {
        open.push_back({mark.range, mark.tag});
        continue;
      }
      for (std::size_t i = 0; i < open.size(); ++i)
        durable.put(open[i].range.at, open[i].range.length, open[i].tag);
      open.clear();
    }
    expect(state, durable, open);
  }

 private:
  struct Mark {
    std::size_t events = 0;
    bool flush = false;
    DiskModel::Range range{};
    std::uint32_t tag = 0;
  };

  bool payload(const IoCommand& command) const {
    return command.kind == IoCommand::Kind::write && command.at.value >= bat_offset(shape_) + kMiB;
  }

  void begin(std::uint64_t at, std::uint64_t length, std::uint32_t tag) {
    marks_.push_back({.events = history_.size(), .range = {at, length}, .tag = tag});
  }

  void write(std::uint64_t at, std::uint64_t length) {
    const std::uint32_t tag = ++tag_;
    begin(at, length, tag);
    if (!image_->write(at, model_.contents_of(at, length, tag))) failed_ = true;
  }

  void clear(std::uint64_t at, std::uint64_t length, ClearKind kind) {
    begin(at, length, DiskModel::kZeros);
    if (!image_->clear(at, length, kind)) failed_ = true;
  }

  // After a failure nobody knows what a flush covers: all that began since stays open.
  void flushed() {
    if (!failed_) marks_.push_back({.events = history_.size(), .flush = true});
  }

  void expect(const std::shared_ptr<MemoryStore>& state, const DiskModel& durable,
              std::span<const DiskModel::Open> open) const {
    {
      OpenEngine reader{state, shape_, false};
      const std::string wrong = durable.compare(reader, open);
      demand(wrong.empty(), "read-only: " + wrong);
    }
    {
      OpenEngine writer{state, shape_};
      const std::string wrong = durable.compare(writer, open);
      demand(wrong.empty(), "replayed: " + wrong);
      demand(bool{writer.write(0, filled(shape_.sector_size, 7))}, "the state cannot be written");
      demand(bool{writer.close()}, "the state cannot be closed");
    }
    MemoryFile file{state};
    std::vector<Finding> findings;
    demand(bool{vhdx::check(file, findings, 100, nullptr)}, "check fails");
    for (const Finding& finding : findings)
      demand(finding.severity != Severity::error, finding.text);
  }

  EngineShape shape_;
  std::shared_ptr<MemoryStore> store_;
  MemoryStore start_;
  DiskModel model_;  // as it is before the first operation
  FileHistory history_;
  RecordingFile* file_ = nullptr;
  std::unique_ptr<OpenEngine> image_;
  std::vector<Mark> marks_;
  std::uint32_t tag_ = DiskModel::kParent;
  std::uint64_t commands_ = 0;
  bool failed_ = false;
};

}  // namespace
}  // namespace openvhd::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace openvhd::test;
  if (size < 4) return 0;
  const unsigned flags = data[0];
  Script script{shape_of(flags)};
  if ((flags & 8) != 0) script.fail(data[1], (flags & 16) != 0 ? -EIO : -ENOSPC);
  const std::size_t operations = std::min((size - 4) / 2, kMostOperations);
  for (std::size_t i = 0; i < operations; ++i) script.operate(data[4 + 2 * i], data[5 + 2 * i]);
  if ((flags & 32) != 0) script.close();
  const std::size_t cut = script.events() * data[2] / 255;
  script.judge(script.cut_at(cut, static_cast<Survival>(data[3] % 5), data[3]), cut);
  return 0;
}
