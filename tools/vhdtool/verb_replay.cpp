#include <fmt/format.h>

#include <openvhd/check.hpp>

#include "console.hpp"
#include "report.hpp"
#include "report_snapshot.hpp"
#include "shared_options.hpp"
#include "text.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

class Replay : public Verb {
 public:
  VerbText text() const override {
    return {.name = "replay",
            .summary = "Replays the log of a VHDX into the file.",
            .description =
                {"Writes what a VHDX that was not closed holds in its log to its places, and "
                 "empties the log. Opening for writing does the same; this does nothing else. An "
                 "image without a log, or with an empty one, is not touched."},
            .examples = {{"vhdtool replay disk.vhdx --dry-run", "Only tells what it would do."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "FILE", .help = "The image."}, file_into(file_));
    arguments.option({.name = "--dry-run", .help = "Writes nothing, only tells."},
                     flag_into(dry_run_));
    declare_json(arguments, json_);
  }

  ExitCode run(Console& console) override {
    if (json_) console.use_json();
    const auto result = openvhd::replay(file_, dry_run_);
    if (!result) return console.fail(failure_of(result.error(), {}, file_));
    if (json_) {
      console.print_json(replay_json(*result, dry_run_));
    } else {
      console.print(fmt::format("{}: {}", printable(file_), replay_text(*result, dry_run_)));
    }
    console.notes(merge_notes(file_));
    return ExitCode::ok;
  }

 private:
  std::string file_;
  bool dry_run_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> replay_verb() { return std::make_unique<Replay>(); }

}  // namespace vhdtool
