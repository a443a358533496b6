#include <openvhd/merge.hpp>

#include "console.hpp"
#include "progress_bar.hpp"
#include "report_snapshot.hpp"
#include "shared_options.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

class Merge : public Verb {
 public:
  VerbText text() const override {
    return {.name = "merge",
            .summary = "Merges the images of a chain.",
            .description =
                {"Writes what CHILD stores into its parent, or with --into, in one pass, what it "
                 "and all images between store into an ancestor. That image then reads as CHILD "
                 "did, CHILD's own children are told of it, and what was merged is removed. With "
                 "--pull nothing is removed and no parent changes: CHILD takes in what its "
                 "parents hold and needs them no longer.",
                 "CHILD reads as before at every moment. When the work is interrupted, by a "
                 "signal, a full disk or a crash, a file TARGET.merge remains; every verb tells of "
                 "it, and the same command, or --resume TARGET, finishes the merge. Until then "
                 "TARGET alone is not opened for writing.",
                 "All files that change are locked: nothing is merged that somebody has open. "
                 "Other children of an image that changes would read wrong data; they are looked "
                 "for beside the chain and in every --child-dir, and where there are any the merge "
                 "is refused unless --force-siblings gives them up. CHILD and the target must have "
                 "the same size; a child that is larger can only pull."},
            .examples = {{"vhdtool merge child.avhdx", "Into its parent; child.avhdx goes away."},
                         {"vhdtool merge leaf.avhdx --into base.vhdx", "Several levels at once."},
                         {"vhdtool merge clone.vhdx --pull", "clone.vhdx becomes independent."},
                         {"vhdtool merge --resume base.vhdx", "Finishes what was interrupted."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "CHILD",
                          .help = "The image to merge, or with --resume the one "
                                  "that it was being merged into."},
                         file_into(options_.child));
    arguments.option({.name = "--into",
                      .value = "ANCESTOR",
                      .help = "Merges into this image of the chain; the parent without it. With "
                              "--pull: pulls what is above it, and it becomes the parent."},
                     file_into(options_.into));
    arguments.option({.name = "--pull",
                      .help = "Copies what the parents hold into CHILD and leaves them alone."},
                     flag_into(options_.pull));
    arguments.option({.name = "--keep", .help = "Keeps CHILD, over the image it was merged into."},
                     flag_into(options_.keep));
    arguments.option(
        {.name = "--resume", .help = "Finishes an interrupted merge into the image that is named."},
        flag_into(resume_));
    arguments.option(
        {.name = "--force-siblings", .help = "Gives up other children of the images that change."},
        flag_into(options_.force_siblings));
    arguments.option({.name = "--child-dir",
                      .value = "DIR",
                      .help = "A directory, beside those of the chain, in which children of its "
                              "images may lie. May be given several times."},
                     directories_into(options_.child_dirs));
    arguments.option({.name = "--no-reflink",
                      .help = "Moves all data, also where the file system could share it."},
                     flag_clears(options_.reflink));
    arguments.option({.name = "--no-direct", .help = "Goes through the page cache."},
                     flag_clears(options_.direct));
    declare_parent_dirs(arguments, options_.parents);
    declare_json(arguments, json_);
  }

  ExitCode run(Console& console) override {
    if (json_) console.use_json();
    if (resume_ && (options_.pull || options_.keep || !options_.into.empty()))
      return console.usage("merge: --resume goes on as the merge was begun");
    openvhd::OpenReport report;
    options_.report = &report;
    const auto result = [&] {
      ProgressBar bar{"merge"};
      options_.progress = &bar;
      return resume_ ? openvhd::resume_merge(options_.child, options_) : openvhd::merge(options_);
    }();
    if (!result) return console.fail(failure_of(result.error(), report, options_.child));
    if (json_) {
      console.print_json(merge_json(*result));
    } else {
      console.print(merge_text(*result));
    }
    console.notes(result->notes);
    return ExitCode::ok;
  }

 private:
  openvhd::MergeOptions options_;
  bool resume_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> merge_verb() { return std::make_unique<Merge>(); }

}  // namespace vhdtool
