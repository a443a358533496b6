#include <openvhd/dump.hpp>

#include "console.hpp"
#include "report.hpp"
#include "report_snapshot.hpp"
#include "shared_options.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

class Dump : public Verb {
 public:
  VerbText text() const override {
    return {.name = "dump",
            .summary = "Shows every structure of an image, decoded.",
            .description =
                {"Lists headers, tables, log entries, metadata, allocation tables, footers and "
                 "locators as they are in the file, with their offsets and field names of the "
                 "specification. Nothing is replayed. Damaged structures are shown with what is "
                 "wrong with them; that alone does not change the exit code: check judges."},
            .examples = {{"vhdtool dump disk.vhdx", "For people."},
                         {"vhdtool dump disk.vhdx --json", "For programs."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "FILE", .help = "The image."}, file_into(file_));
    arguments.option({.name = "--max-entries",
                      .value = "N",
                      .help = "How many entries of each table to list at most. 1000 without it."},
                     number_into(max_entries_));
    declare_json(arguments, json_);
  }

  ExitCode run(Console& console) override {
    if (json_) console.use_json();
    const auto root = openvhd::dump(file_, max_entries_.value_or(1000));
    if (!root) return console.fail(failure_of(root.error(), {}, file_));
    if (json_) {
      console.print_json(dump_json(*root));
    } else {
      console.print(dump_text(*root));
    }
    console.notes(merge_notes(file_));
    return ExitCode::ok;
  }

 private:
  std::string file_;
  std::optional<std::uint64_t> max_entries_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> dump_verb() { return std::make_unique<Dump>(); }

}  // namespace vhdtool
