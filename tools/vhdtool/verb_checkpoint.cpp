#include <openvhd/checkpoint.hpp>

#include "console.hpp"
#include "progress_bar.hpp"
#include "report_snapshot.hpp"
#include "shared_options.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

enum class Action { create, list, tree, apply, remove, rename };

class CheckpointVerb : public Verb {
 public:
  VerbText text() const override {
    return {
        .name = "checkpoint",
        .summary = "Keeps states of a disk, and goes back to them.",
        .description =
            {"ACTION is create, list, tree, apply, delete or rename. FILE is any image of the "
             "disk.",
             "create keeps the state of now: the current image does not change any more, and a "
             "new one over it, \"disk_GUID.avhdx\" or \".avhd\", is the disk from then on. It is "
             "the one to be opened; list, tree and create name it, with --json as \"current\". "
             "The image that the disk began with is not opened for writing while there are "
             "checkpoints.",
             "apply goes back to a checkpoint, again with a new image; the state of now becomes a "
             "checkpoint of its own, or with --discard is given up. delete gives up the state of "
             "one checkpoint: the image above is merged into its image, and where several are "
             "above, the image stays hidden until one is left. When the last one is deleted the "
             "disk is the first image again.",
             "Names and times are in a file beside the first image, \"disk.vhdx.checkpoints\". "
             "When it is lost the tree is rebuilt from the images, without the names. At every "
             "moment the disk and all checkpoints read as they should; what an interruption left "
             "unfinished the next create, apply, delete or rename finishes. The disk must not be "
             "open anywhere."},
        .examples = {{"vhdtool checkpoint create disk.vhdx --name 'before the update'", ""},
                     {"vhdtool checkpoint tree disk.vhdx", "Which state goes on from which."},
                     {"vhdtool checkpoint apply disk.vhdx --name 'before the update' --discard",
                      "Back to it."},
                     {"vhdtool checkpoint delete disk.vhdx --name 'before the update'",
                      "Keeps what came after."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "ACTION", .help = "create, list, tree, apply, delete or rename."},
                         choice_into(action_, std::vector<std::pair<std::string, Action>>{
                                                  {"create", Action::create},
                                                  {"list", Action::list},
                                                  {"tree", Action::tree},
                                                  {"apply", Action::apply},
                                                  {"delete", Action::remove},
                                                  {"rename", Action::rename}}));
    arguments.positional({.name = "FILE", .help = "An image of the disk."}, file_into(file_));
    arguments.option({.name = "--name",
                      .value = "NAME",
                      .help = "The checkpoint, by its name or id. For create: the name that it "
                              "gets; one with the time without it."},
                     text_into(name_));
    arguments.option({.name = "--to", .value = "NAME", .help = "For rename: the new name."},
                     text_into(to_));
    arguments.option({.name = "--discard",
                      .help = "For apply: gives up the state of now, without a checkpoint of it."},
                     flag_into(discard_));
    declare_json(arguments, json_);
  }

  ExitCode run(Console& console) override {
    if (json_) console.use_json();
    const bool needs_name =
        action_ == Action::apply || action_ == Action::remove || action_ == Action::rename;
    if (needs_name && name_.empty()) return console.usage("checkpoint: --name is required");
    if ((action_ == Action::rename) == to_.empty())
      return console.usage("checkpoint: --to goes with rename");
    if (discard_ && action_ != Action::apply)
      return console.usage("checkpoint: --discard goes with apply");
    openvhd::OpenReport report;
    const auto tree = work(report);
    if (!tree) return console.fail(failure_of(tree.error(), report, file_));
    if (json_) {
      console.print_json(checkpoints_json(*tree));
    } else {
      console.print(action_ == Action::tree ? checkpoint_tree_text(*tree)
                                            : checkpoints_text(*tree));
    }
    console.notes(tree->notes);
    return ExitCode::ok;
  }

 private:
  openvhd::Result<openvhd::CheckpointTree> work(openvhd::OpenReport& report) {
    ProgressBar bar{"checkpoint"};
    const openvhd::CheckpointOptions options{.progress = &bar, .report = &report};
    switch (action_) {
      case Action::create:
        return openvhd::create_checkpoint(file_, name_, options);
      case Action::apply:
        return openvhd::apply_checkpoint(file_, name_, discard_, options);
      case Action::remove:
        return openvhd::delete_checkpoint(file_, name_, options);
      case Action::rename:
        return openvhd::rename_checkpoint(file_, name_, to_, options);
      case Action::list:
      case Action::tree:
        break;
    }
    return openvhd::list_checkpoints(file_, options);
  }

  Action action_ = Action::list;
  std::string file_;
  std::string name_;
  std::string to_;
  bool discard_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> checkpoint_verb() { return std::make_unique<CheckpointVerb>(); }

}  // namespace vhdtool
