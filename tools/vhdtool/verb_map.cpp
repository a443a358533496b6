#include <fmt/format.h>

#include <memory>
#include <openvhd/disk.hpp>

#include "console.hpp"
#include "map_walk.hpp"
#include "picture_file.hpp"
#include "progress_bar.hpp"
#include "report_map.hpp"
#include "shared_options.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

class Map : public Verb {
 public:
  VerbText text() const override {
    return {.name = "map",
            .summary = "Shows where the bytes of a disk are stored.",
            .description =
                {"Lists the virtual disk from start to end: data, with the file of the chain that "
                 "holds it and the offset there; zero, which is zeros by the metadata of a file; "
                 "and hole, which nobody stores and which reads as zeros. File 0 is FILE, 1 its "
                 "parent, and so on.",
                 "The table joins neighbours of one kind and file; \"in N pieces\" tells that they "
                 "lie in several places of the file. --json lists every extent."},
            .examples = {{"vhdtool map disk.vhdx", "A table."},
                         {"vhdtool map child.avhdx --svg map.svg", "A picture."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "FILE", .help = "The image."}, file_into(file_));
    arguments.option({.name = "--svg",
                      .value = "OUT",
                      .help = "Draws the map into the file or pipe OUT and prints only totals. "
                              "Replaces an existing picture, no other file."},
                     file_into(svg_));
    declare_format(arguments, options_.format);
    declare_parents(arguments, options_.parents);
    declare_json(arguments, json_);
  }

  ExitCode run(Console& console) override {
    if (json_) console.use_json();
    PictureFile picture{svg_};
    if (!svg_.empty()) {
      if (const auto problem = picture.open(); !problem.empty())
        return console.usage("map: " + problem);
    }
    openvhd::OpenReport report;
    options_.report = &report;
    auto disk = openvhd::Disk::open(file_, options_);
    if (!disk) return console.fail(failure_of(disk.error(), report, file_));
    console.notes(report.notes);
    if (!svg_.empty()) return draw(console, *disk, picture);
    return json_ ? list_json(console, *disk) : list(console, *disk);
  }

 private:
  ExitCode failed(Console& console, const openvhd::Error& error, openvhd::Disk& disk) const {
    return console.fail(failure_of(error, {.files = disk.files(), .notes = {}}, file_));
  }

  openvhd::Status walk(openvhd::Disk& disk, const MapMerger::Emit& emit, MapMerger::By by) {
    ProgressBar bar{"map"};
    MapMerger merger{by, emit};
    auto status = walk_map(disk, bar, [&](const openvhd::MapEntry& entry) { merger.add(entry); });
    if (status) merger.finish();
    return status;
  }

  ExitCode list(Console& console, openvhd::Disk& disk) {
    console.print(map_header());
    MapTotals totals;
    const auto status = walk(
        disk,
        [&](const MapRun& run) {
          totals.add(run.entry);
          console.print(map_row(run));
        },
        MapMerger::By::kind);
    if (!status) return failed(console, status.error(), disk);
    console.print('\n' + totals.text(disk.files()));
    return ExitCode::ok;
  }

  // Entry by entry: the list of a large disk does not fit into memory as a tree.
  ExitCode list_json(Console& console, openvhd::Disk& disk) {
    const Json files = disk.files();
    console.print(fmt::format(
        "{{\n  \"schema\": {},\n  \"virtual_size\": {},\n  \"files\": {},\n  \"extents\": [",
        kJsonSchema, disk.geometry().virtual_size,
        files.dump(-1, ' ', false, Json::error_handler_t::replace)));
    const char* separator = "\n    ";
    const auto status = walk(
        disk,
        [&](const MapRun& run) {
          console.print(separator + map_entry_json(run.entry).dump());
          separator = ",\n    ";
        },
        MapMerger::By::extent);
    console.print("\n  ]");
    if (!status) {
      const auto failure = failure_of(status.error(), {.files = disk.files(), .notes = {}}, file_);
      console.print(",\n  \"error\": " +
                    failure_json(failure).dump(-1, ' ', false, Json::error_handler_t::replace));
      console.error_line(failure_text(failure));
    }
    console.print("\n}\n");
    return status ? ExitCode::ok : exit_code(status.error().code);
  }

  ExitCode draw(Console& console, openvhd::Disk& disk, PictureFile& file) {
    SvgMap picture{disk.geometry().virtual_size, disk.files()};
    MapTotals totals;
    const auto status = walk(
        disk,
        [&](const MapRun& run) {
          picture.add(run.entry);
          totals.add(run.entry);
        },
        MapMerger::By::extent);
    if (!status) return failed(console, status.error(), disk);
    if (const auto written = file.write(picture.text()); !written)
      return console.fail({.error = written.error(), .file = svg_, .notes = {}});
    if (json_) {
      console.print_json(Json{{"schema", kJsonSchema}, {"svg", svg_}});
    } else {
      console.print(totals.text(disk.files()));
    }
    return ExitCode::ok;
  }

  std::string file_;
  std::string svg_;
  openvhd::OpenOptions options_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> map_verb() { return std::make_unique<Map>(); }

}  // namespace vhdtool
