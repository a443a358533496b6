#include <fmt/format.h>

#include <openvhd/check.hpp>

#include "console.hpp"
#include "progress_bar.hpp"
#include "report.hpp"
#include "shared_options.hpp"
#include "text.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

ExitCode outcome(const openvhd::CheckReport& report) {
  if (report.clean()) return ExitCode::ok;
  return report.worst() == openvhd::Severity::error ? ExitCode::refused : ExitCode::different;
}

class Check : public Verb {
 public:
  VerbText text() const override {
    return {.name = "check",
            .summary = "Checks images against every rule of their format.",
            .description =
                {"Reads every structure and reports what breaks a rule: the rule's id, where, and "
                 "what is wrong. Exits with 0 when all is clean (notes do not count), 1 when the "
                 "worst is a warning, 2 when it is an error. Several files: the highest code.",
                 "Without --repair nothing is ever written, not even to replay a log. --repair "
                 "mends what can be mended without losing data; every byte that it changes is "
                 "first saved to FILE.undo, from which --undo puts them back. A FILE.undo of an "
                 "earlier repair is never replaced: use it or remove it first. A healthy image is "
                 "not touched. After --repair the exit code is that of the repaired image."},
            .examples = {{"vhdtool check disk.vhdx", "One image."},
                         {"vhdtool check --chain --json child.avhdx",
                          "An image, its parents and the links between, for a program."},
                         {"vhdtool check --repair disk.vhdx", "Mends, with an undo file."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "FILE", .help = "The images."}, files_into(files_));
    arguments.option({.name = "--chain", .help = "Also the parents and the links between."},
                     flag_into(options_.chain));
    arguments.option({.name = "--repair", .help = "Mends what can be mended without losing data."},
                     flag_into(repair_));
    arguments.option({.name = "--undo",
                      .help = "Takes a repair back: restores the bytes in FILE.undo and removes "
                              "it. Checks nothing."},
                     flag_into(undo_));
    arguments.option({.name = "--azure", .help = "Also what Azure demands of an upload."},
                     flag_into(options_.azure));
    declare_parents(arguments, options_.parents);
    declare_json(arguments, json_);
  }

  ExitCode run(Console& console) override {
    if (undo_ && (repair_ || options_.chain || options_.azure))
      return console.usage("check: --undo stands alone");
    // Failures are part of the report: console.fail() would begin a second JSON document.
    auto worst = ExitCode::ok;
    Json images = Json::array();
    for (const auto& file : files_) {
      Json image = {{"file", file}};
      worst = worse(worst, undo_     ? undo(console, file, image)
                           : repair_ ? repair(console, file, image)
                                     : check(console, file, image));
      images.push_back(std::move(image));
      if (worst == ExitCode::cancelled) break;
    }
    if (json_) {
      console.print_json(Json{{"schema", kJsonSchema},
                              {"clean", worst == ExitCode::ok},
                              {"images", std::move(images)}});
    }
    return worst;
  }

 private:
  ExitCode fail(Console& console, const openvhd::Error& error, const std::string& file,
                Json& image) const {
    const auto failure = failure_of(error, report_, file);
    image["error"] = failure_json(failure);
    console.error_line(failure_text(failure));
    return exit_code(error.code);
  }

  ExitCode check(Console& console, const std::string& file, Json& image) {
    const auto report = [&] {
      ProgressBar bar{"check"};
      options_.progress = &bar;
      return openvhd::check(file, options_);
    }();
    if (!report) return fail(console, report.error(), file, image);
    image["check"] = check_json(*report);
    if (!json_) console.print(check_text(*report));
    return outcome(*report);
  }

  ExitCode repair(Console& console, const std::string& file, Json& image) {
    const auto result = [&] {
      ProgressBar bar{"repair"};
      options_.progress = &bar;
      return openvhd::repair(file, options_);
    }();
    if (!result) return fail(console, result.error(), file, image);
    image["check"] = check_json(result->before);
    image["actions"] = result->actions;
    image["undo_file"] = result->undo_file.empty() ? Json(nullptr) : Json(result->undo_file);
    image["after"] = check_json(result->after);
    if (!json_) console.print(repair_text(*result));
    return outcome(result->after);
  }

  ExitCode undo(Console& console, const std::string& file, Json& image) const {
    const auto undone = openvhd::undo_repair(file, options_);
    if (!undone) return fail(console, undone.error(), file, image);
    image["undone"] = true;
    if (!json_) console.print(fmt::format("{}: repair undone\n", printable(file)));
    return ExitCode::ok;
  }

  std::vector<std::string> files_;
  openvhd::OpenReport report_;
  openvhd::CheckOptions options_{.report = &report_};
  bool repair_ = false;
  bool undo_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> check_verb() { return std::make_unique<Check>(); }

}  // namespace vhdtool
