#include <fmt/format.h>

#include <openvhd/compact.hpp>

#include "console.hpp"
#include "progress_bar.hpp"
#include "report.hpp"
#include "report_snapshot.hpp"
#include "shared_options.hpp"
#include "text.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

class Compact : public Verb {
 public:
  VerbText text() const override {
    return {
        .name = "compact",
        .summary = "Makes the file of an image as short as what it holds.",
        .description =
            {"Blocks that hold nothing but zeros are let go, blocks from the end of the file move "
             "into holes, and the file is cut off behind what is left. What the disk reads as does "
             "not change, so its children stay valid. Works in place: it needs room for 256 MiB at "
             "most. Nobody else may have the image open, its children included.",
             "A crash, or a stop with Ctrl-C, leaves a sound image that is compacted in part: run "
             "it again to go on. No block moves twice."},
        .examples = {{"vhdtool compact disk.vhdx", "As short as it can be."},
                     {"vhdtool compact disk.vhdx --dry-run", "Only tells what that would come to."},
                     {"vhdtool compact disk.vhdx --mode quick",
                      "Without reading data: after the guest has trimmed what it does not need."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "FILE", .help = "The image."}, file_into(file_));
    arguments.option(
        {.name = "--mode",
         .value = "MODE",
         .help = "quick: moves blocks into holes. zeroes: lets go of blocks of zeros. "
                 "full, the default: both."},
        choice_into(options_.mode,
                    std::vector<std::pair<std::string, Mode>>{
                        {"quick", Mode::quick}, {"full", Mode::full}, {"zeroes", Mode::zeroes}}));
    arguments.option({.name = "--dry-run", .help = "Writes nothing, only tells."},
                     flag_into(options_.dry_run));
    declare_json(arguments, json_);
  }

  ExitCode run(Console& console) override {
    if (json_) console.use_json();
    const auto result = [&] {
      ProgressBar bar{"compact"};
      options_.progress = &bar;
      return openvhd::compact(file_, options_);
    }();
    if (!result) return console.fail(failure_of(result.error(), {}, file_));
    if (json_) {
      console.print_json(compact_json(*result, options_.dry_run));
    } else {
      console.print(
          fmt::format("{}: {}", printable(file_), compact_text(*result, options_.dry_run)));
    }
    console.notes(merge_notes(file_));
    return ExitCode::ok;
  }

 private:
  using Mode = openvhd::CompactMode;
  std::string file_;
  openvhd::CompactOptions options_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> compact_verb() { return std::make_unique<Compact>(); }

}  // namespace vhdtool
