#include <openvhd/rebase.hpp>

#include "console.hpp"
#include "progress_bar.hpp"
#include "report_snapshot.hpp"
#include "shared_options.hpp"
#include "text.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

/// "OLD=NEW".
Binding mappings_into(std::vector<openvhd::PathMapping>& mappings) {
  return {.assign =
              [&mappings](const std::string& text) {
                const std::size_t sign = text.find('=');
                if (sign == std::string::npos || sign == 0 || sign + 1 == text.size()) {
                  return "'" + text + "' is not OLD=NEW";
                }
                mappings.push_back({.from = text.substr(0, sign), .to = text.substr(sign + 1)});
                return std::string{};
              },
          .repeats = true};
}

class Rebase : public Verb {
 public:
  VerbText text() const override {
    return {.name = "rebase",
            .summary = "Gives a differencing image another parent.",
            .description =
                {"Makes FILE a child of the image named by --parent. FILE reads as before: where "
                 "the old chain and the new one hold different data, that of the old one is first "
                 "copied into FILE. With --unsafe only the name changes, for parents that were "
                 "moved or whose contents are known to be the same.",
                 "The name is changed last, all or nothing: interrupted before, FILE is over its "
                 "old parent, and the same command can be given again.",
                 "--map-path tells where paths lead to that were recorded on another machine; "
                 "without --parent it then finds the parent, and FILE gets a path that works "
                 "here."},
            .examples = {
                {"vhdtool rebase child.vhdx --parent other.vhdx", "The contents stay."},
                {"vhdtool rebase child.vhdx --parent moved/base.vhdx --unsafe", "The name only."},
                {"vhdtool rebase disk.avhdx --map-path 'C:\\VMs=/srv/vms'",
                 "A chain that came from Windows."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "FILE", .help = "The differencing image."},
                         file_into(options_.child));
    arguments.option({.name = "--parent",
                      .value = "NEW",
                      .help = "The new parent. Needed unless there is a --map-path."},
                     file_into(options_.parent));
    arguments.option(
        {.name = "--unsafe", .help = "Compares and copies nothing, and needs no old parent."},
        flag_into(options_.unsafe));
    arguments.option({.name = "--map-path",
                      .value = "OLD=NEW",
                      .help = "Recorded paths below OLD are below NEW here. May be given several "
                              "times; the first that fits counts."},
                     mappings_into(options_.mappings));
    arguments.option({.name = "--no-direct", .help = "Goes through the page cache."},
                     flag_clears(options_.direct));
    declare_parent_dirs(arguments, options_.parents);
    declare_json(arguments, json_);
  }

  ExitCode run(Console& console) override {
    if (json_) console.use_json();
    if (options_.parent.empty() && options_.mappings.empty())
      return console.usage("rebase: --parent is required");
    openvhd::OpenReport report;
    options_.report = &report;
    const auto result = [&] {
      ProgressBar bar{"rebase"};
      options_.progress = &bar;
      return openvhd::rebase(options_);
    }();
    if (!result) return console.fail(failure_of(result.error(), report, options_.child));
    if (json_) {
      console.print_json(rebase_json(*result));
    } else {
      console.print(printable(options_.child) + ": " + rebase_text(*result));
    }
    console.notes(result->notes);
    return ExitCode::ok;
  }

 private:
  openvhd::RebaseOptions options_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> rebase_verb() { return std::make_unique<Rebase>(); }

}  // namespace vhdtool
