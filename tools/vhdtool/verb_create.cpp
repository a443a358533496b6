#include <fmt/format.h>

#include <openvhd/create.hpp>
#include <openvhd/disk.hpp>

#include "console.hpp"
#include "progress_bar.hpp"
#include "report.hpp"
#include "shared_options.hpp"
#include "text.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

using openvhd::DiskType;

class Create : public Verb {
 public:
  VerbText text() const override {
    return {.name = "create",
            .summary = "Makes a new image.",
            .description =
                {"Makes an empty image, or with --parent one that stores only what differs from "
                 "its parent. The format comes from the ending of FILE (.vhd, .avhd, .vhdx, "
                 ".avhdx) or from --format. Sizes are exact: nothing is rounded to a geometry.",
                 "The image is on stable storage when the program ends. An existing file is left "
                 "alone unless --overwrite is given; on failure, and when interrupted, no new file "
                 "stays behind."},
            .examples = {
                {"vhdtool create disk.vhdx --size 64G", "A dynamic VHDX."},
                {"vhdtool create azure.vhd --size 30G --azure", "A fixed VHD that Azure takes."},
                {"vhdtool create child.vhdx --parent base.vhdx",
                 "A differencing image over base.vhdx."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "FILE", .help = "The image to make."}, file_into(file_));
    arguments.option({.name = "--size",
                      .value = "SIZE",
                      .help = "The size of the virtual disk. Needed unless there is a parent."},
                     amount_into(options_.virtual_size));
    arguments.option({.name = "--format",
                      .value = "FORMAT",
                      .help = "vhd or vhdx. Without it the file name tells."},
                     choice_into(options_.format, image_formats()));
    arguments.option({.name = "--type",
                      .value = "TYPE",
                      .help = "fixed, dynamic or differencing. Without it: differencing with "
                              "--parent, fixed with --azure, else dynamic."},
                     choice_into(type_, disk_types()));
    arguments.option({.name = "--parent",
                      .value = "FILE",
                      .help = "The image that answers for what the new one does not store."},
                     file_into(options_.parent));
    declare_parent_dirs(arguments, options_.parent_policy);
    arguments.option({.name = "--block-size",
                      .value = "SIZE",
                      .help = "The unit of allocation. VHDX: 1 to 256 MiB, a power of two; 32 MiB, "
                              "or 2 MiB for differencing, without it. VHD: 2 MiB without it."},
                     amount_into(options_.block_size));
    arguments.option({.name = "--logical-sector",
                      .value = "BYTES",
                      .help = "512 or 4096, VHDX only. 512, or the parent's, without it."},
                     choice_into(options_.logical_sector_size, sector_sizes()));
    arguments.option({.name = "--physical-sector",
                      .value = "BYTES",
                      .help = "512 or 4096, VHDX only. 4096, or the parent's, without it."},
                     choice_into(options_.physical_sector_size, sector_sizes()));
    arguments.option({.name = "--log-size",
                      .value = "SIZE",
                      .help = "The VHDX log, a multiple of 1 MiB. 1 MiB without it."},
                     amount_into(options_.log_size));
    arguments.option({.name = "--azure",
                      .help = "Refuses what Azure would: the image must be a fixed VHD whose size "
                              "is a multiple of 1 MiB."},
                     flag_into(options_.azure));
    arguments.option({.name = "--no-sparse",
                      .help = "Fixed images are written out, for targets that refuse sparse "
                              "files."},
                     flag_into(options_.no_sparse));
    arguments.option({.name = "--overwrite", .help = "Replaces an existing file."},
                     flag_into(options_.overwrite));
    declare_json(arguments, json_);
  }

  ExitCode run(Console& console) override {
    if (json_) console.use_json();
    const bool child = !options_.parent.empty();
    const auto implied = child            ? DiskType::differencing
                         : options_.azure ? DiskType::fixed
                                          : DiskType::dynamic;
    options_.type = type_.value_or(implied);
    if (!child && options_.virtual_size == 0) return console.usage("create: --size is required");
    openvhd::OpenReport report;
    options_.report = &report;
    const auto made = [&] {
      ProgressBar bar{"create"};
      options_.progress = &bar;
      return openvhd::create(file_, options_);
    }();
    if (!made) return console.fail(failure_of(made.error(), report, file_));
    console.notes(report.notes);
    return show(console);
  }

 private:
  // What was made, as a reader sees it.
  ExitCode show(Console& console) const {
    openvhd::OpenReport report;
    openvhd::OpenOptions open;
    open.access = openvhd::Access::inspect;
    open.report = &report;
    open.parents.open_parents = false;
    auto disk = openvhd::Disk::open(file_, open);
    if (!disk) return console.fail(failure_of(disk.error(), report, file_));
    const auto info = disk->info(false);
    if (!info || info->layers.empty()) {
      return console.fail(failure_of(
          info ? openvhd::Error{.code = openvhd::Errc::io, .what = "no layer"} : info.error(),
          report, file_));
    }
    if (json_) {
      console.print_json(info_json(*info, {}));
    } else {
      console.print(fmt::format("{}: {}\n", printable(file_), layer_summary(info->layers.front())));
    }
    return ExitCode::ok;
  }

  std::string file_;
  openvhd::CreateOptions options_;
  std::optional<DiskType> type_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> create_verb() { return std::make_unique<Create>(); }

}  // namespace vhdtool
