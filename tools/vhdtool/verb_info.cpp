#include <openvhd/disk.hpp>
#include <openvhd/resize.hpp>
#include <string_view>

#include "console.hpp"
#include "report.hpp"
#include "shared_options.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

class Info : public Verb {
 public:
  VerbText text() const override {
    return {.name = "info",
            .summary = "Tells what an image is.",
            .description =
                {"Prints kind, sizes, block and sector sizes, allocation, ids, creator, the state "
                 "of the log and the parents that the image names. Nothing is written: a log that "
                 "needs replay is replayed in memory.",
                 "Without --chain the parents of a differencing image are named but not opened. "
                 "An image that another process is writing is looked at without a lock, and a "
                 "note says so.",
                 "Where the disk has a GPT, it is told whether its backup must be moved to the end "
                 "of the disk, as after growing."},
            .examples = {{"vhdtool info disk.vhdx", "One image."},
                         {"vhdtool info child.avhdx --chain", "An image and all its parents."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "FILE", .help = "The image."}, file_into(file_));
    arguments.option({.name = "--chain", .help = "Opens the parents too and tells of each."},
                     flag_into(chain_));
    arguments.option({.name = "--blocks",
                      .help = "Counts blocks by state even where that means to read a table of "
                              "more than 1 MiB."},
                     flag_into(blocks_));
    declare_format(arguments, options_.format);
    declare_parents(arguments, options_.parents);
    declare_json(arguments, json_);
  }

  ExitCode run(Console& console) override {
    if (json_) console.use_json();
    openvhd::OpenReport report;
    options_.report = &report;
    options_.parents.open_parents = chain_;
    auto disk = open(report);
    if (!disk) return console.fail(failure_of(disk.error(), report, file_));
    const auto info = disk->info(blocks_);
    if (!info) return console.fail(failure_of(info.error(), report, file_));
    const std::string_view gpt = gpt_word(*disk, *info);
    if (json_) {
      Json json = info_json(*info, report.notes);
      json["gpt"] = gpt.empty() ? Json(nullptr) : Json(gpt);
      console.print_json(json);
      return ExitCode::ok;
    }
    if (info->layers.size() > 1) console.print(chain_text(*info) + '\n');
    bool first = true;
    for (const auto& layer : info->layers) {
      console.print((first ? "" : "\n") + layer_text(layer));
      first = false;
    }
    console.notes(report.notes);
    if (gpt == "backup-must-move") {
      console.note(
          "no backup of the GPT is at the end of the disk: resize with --fix-gpt, also to the size "
          "that it has, or a partition tool puts it there");
    } else if (gpt == "first-damaged") {
      console.note("the first copy of the GPT is damaged: resize with --fix-gpt mends it");
    }
    return ExitCode::ok;
  }

 private:
  /// What there is to say of the GPT; empty where the disk cannot be read through.
  std::string_view gpt_word(openvhd::Disk& disk, const openvhd::DiskInfo& info) const {
    const bool alone = info.layers.front().type == openvhd::DiskType::differencing && !chain_;
    if (alone) return {};
    const auto state = openvhd::gpt_state(disk);
    if (!state) return state.error().code == openvhd::Errc::corrupt ? "damaged" : "";
    switch (*state) {
      case openvhd::GptState::none:
        return "none";
      case openvhd::GptState::whole:
        return "whole";
      case openvhd::GptState::backup_elsewhere:
        return "backup-must-move";
      case openvhd::GptState::first_damaged:
        return "first-damaged";
    }
    return {};
  }

  // With a lock, so that the answer is consistent; where a writer has it, without.
  openvhd::Result<openvhd::Disk> open(openvhd::OpenReport& report) {
    auto locked = openvhd::Disk::open(file_, options_);
    if (locked || locked.error().code != openvhd::Errc::busy) return locked;
    report = {};
    options_.access = openvhd::Access::inspect;
    return openvhd::Disk::open(file_, options_);
  }

  std::string file_;
  openvhd::OpenOptions options_;
  bool chain_ = false;
  bool blocks_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> info_verb() { return std::make_unique<Info>(); }

}  // namespace vhdtool
