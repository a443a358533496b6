#include <fmt/format.h>

#include <limits>
#include <openvhd/resize.hpp>

#include "console.hpp"
#include "progress_bar.hpp"
#include "report.hpp"
#include "shared_options.hpp"
#include "size.hpp"
#include "text.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

/// What was asked: a size, or a change of it.
struct Wanted {
  enum class Kind : std::uint8_t { none, size, more, less };
  Kind kind = Kind::none;
  std::uint64_t bytes = 0;
};

Binding wanted_into(Wanted& target) {
  Binding binding;
  binding.assign = [&target](const std::string& text) -> std::string {
    const bool more = text.starts_with('+');
    const bool less = text.starts_with('-');
    const auto parsed = parse_size(std::string_view{text}.substr(more || less ? 1 : 0));
    if (!parsed.bytes) return "'" + text + "' " + parsed.problem;
    if (*parsed.bytes == 0) return "'" + text + "' is no size";
    target = {.kind = more   ? Wanted::Kind::more
                      : less ? Wanted::Kind::less
                             : Wanted::Kind::size,
              .bytes = *parsed.bytes};
    return {};
  };
  return binding;
}

class Resize : public Verb {
 public:
  VerbText text() const override {
    return {
        .name = "resize",
        .summary = "Makes the disk in an image larger or smaller.",
        .description =
            {"SIZE is the new size of the disk, +N or -N a change of it. New bytes read as zeros. "
             "Whatever goes wrong, the image has its old size and contents or the new ones, never "
             "something between. Nobody else may have the image open.",
             "A disk is not made smaller than what is in use on it: the last partition of its GPT "
             "or MBR (and room for the backup of a GPT), or, without a partition table, its last "
             "byte that is not zero. --minimum makes it just that small. --force cuts what is "
             "asked to be cut. A differencing disk is never made smaller than its parent.",
             "A GPT has a backup at the end of the disk: --fix-gpt moves it to the new end. "
             "Without it the program says when that is to be done.",
             "The size is part of what children of a VHDX know of their parent: an image that has "
             "children must not be resized, because they would no longer open."},
        .examples = {{"vhdtool resize disk.vhdx 200G --fix-gpt", "A larger disk, its GPT mended."},
                     {"vhdtool resize disk.vhdx --minimum", "As small as it can be."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "FILE", .help = "The image."}, file_into(file_));
    arguments.optional_positional(
        {.name = "SIZE", .help = "The new size, or +N or -N. Not with --minimum."},
        wanted_into(wanted_));
    arguments.option({.name = "--minimum", .help = "The smallest size that loses nothing."},
                     flag_into(options_.minimum));
    arguments.option({.name = "--force", .help = "Also where it cuts off what is in use."},
                     flag_into(options_.force));
    arguments.option({.name = "--fix-gpt", .help = "Moves the backup of a GPT to the new end."},
                     flag_into(options_.fix_gpt));
    declare_parents(arguments, options_.parents);
    declare_json(arguments, json_);
  }

  ExitCode run(Console& console) override {
    if (json_) console.use_json();
    if (options_.minimum == (wanted_.kind != Wanted::Kind::none)) {
      return console.usage("resize: SIZE or --minimum, one of the two");
    }
    if (const auto problem = find_size(); problem)
      return *problem == ExitCode::usage
                 ? console.usage("resize: the change is larger than the disk, or than any disk")
                 : console.fail(*failure_);
    const auto result = [&] {
      ProgressBar bar{"resize"};
      options_.progress = &bar;
      return openvhd::resize(file_, options_);
    }();
    if (!result) return console.fail(failure(result.error()));
    if (json_) {
      console.print_json(resize_json(*result));
    } else {
      console.print(fmt::format("{}: {}", printable(file_), resize_text(*result)));
    }
    return ExitCode::ok;
  }

 private:
  /// A change needs the size that the disk has. Empty: all is well.
  std::optional<ExitCode> find_size() {
    options_.size = wanted_.bytes;
    if (options_.minimum || wanted_.kind == Wanted::Kind::size) return std::nullopt;
    openvhd::OpenReport report;
    const auto disk =
        openvhd::Disk::open(file_, {.parents = {.open_parents = false}, .report = &report});
    if (!disk) {
      failure_ = failure_of(disk.error(), report, file_);
      return exit_code(disk.error().code);
    }
    const std::uint64_t now = disk->geometry().virtual_size;
    if (wanted_.kind == Wanted::Kind::less) {
      if (wanted_.bytes >= now) return ExitCode::usage;
      options_.size = now - wanted_.bytes;
      return std::nullopt;
    }
    if (wanted_.bytes > std::numeric_limits<std::uint64_t>::max() - now) return ExitCode::usage;
    options_.size = now + wanted_.bytes;
    return std::nullopt;
  }

  /// Also a change, or a size in other units, comes to bytes that a rule refuses.
  Failure failure(const openvhd::Error& error) const {
    Failure out = failure_of(error, report_, file_);
    if (!options_.minimum) out.asked = "to " + exact_size(options_.size);
    return out;
  }

  std::string file_;
  Wanted wanted_;
  openvhd::OpenReport report_;
  openvhd::ResizeOptions options_{.report = &report_};
  std::optional<Failure> failure_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> resize_verb() { return std::make_unique<Resize>(); }

}  // namespace vhdtool
