#include <fmt/format.h>

#include <openvhd/convert.hpp>

#include "console.hpp"
#include "progress_bar.hpp"
#include "shared_options.hpp"
#include "text.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

class Compare : public Verb {
 public:
  VerbText text() const override {
    return {.name = "compare",
            .summary = "Tells whether two disks read the same.",
            .description =
                {"Compares the contents of two virtual disks, whatever their formats, types and "
                 "parents. Exits with 0 when they are equal and with 1 when they differ, and then "
                 "names the first byte that does.",
                 "Where one disk is longer, the rest must be zeros; with --strict the sizes must "
                 "be equal."},
            .examples = {{"vhdtool compare disk.vhdx disk.raw --format-b raw",
                          "An image with a raw disk."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "A", .help = "A file or an NBD URI."}, file_into(options_.a));
    arguments.positional({.name = "B", .help = "A file or an NBD URI."}, file_into(options_.b));
    arguments.option({.name = "--format-a",
                      .value = "FORMAT",
                      .help = "The format of A. Without it the content tells; raw is never "
                              "guessed."},
                     choice_into(options_.a_format, all_formats()));
    arguments.option({.name = "--format-b", .value = "FORMAT", .help = "The format of B."},
                     choice_into(options_.b_format, all_formats()));
    arguments.option({.name = "--strict", .help = "The sizes must be equal too."},
                     flag_into(options_.strict));
    declare_parent_dirs(arguments, options_.parents);
    declare_json(arguments, json_);
  }

  ExitCode run(Console& console) override {
    if (json_) console.use_json();
    openvhd::OpenReport report;
    options_.report = &report;
    const auto result = [&] {
      ProgressBar bar{"compare"};
      options_.progress = &bar;
      return openvhd::compare(options_);
    }();
    if (!result) return console.fail(failure_of(result.error(), report, options_.a));
    console.notes(report.notes);
    if (json_) {
      const auto at = result->first_difference;
      console.print_json(Json{{"schema", kJsonSchema},
                              {"equal", result->equal},
                              {"sizes_differ", result->sizes_differ},
                              {"first_difference", at ? Json(at->value) : Json(nullptr)}});
    } else {
      console.print(verdict(*result) + '\n');
    }
    return result->equal ? ExitCode::ok : ExitCode::different;
  }

 private:
  std::string verdict(const openvhd::CompareResult& result) const {
    const auto pair = fmt::format("{} and {}", printable(options_.a), printable(options_.b));
    if (result.equal)
      return pair + (result.sizes_differ ? " are equal, but for size" : " are equal");
    if (!result.first_difference) return pair + " differ in size";
    return fmt::format("{} differ{} from {:#x} on", pair,
                       result.sizes_differ ? ", also in size," : "",
                       result.first_difference->value);
  }

  openvhd::CompareOptions options_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> compare_verb() { return std::make_unique<Compare>(); }

}  // namespace vhdtool
