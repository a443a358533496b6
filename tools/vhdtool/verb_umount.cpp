#include "console.hpp"
#include "mounts.hpp"
#include "shared_options.hpp"
#include "text.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

class Umount : public Verb {
 public:
  VerbText text() const override {
    return {.name = "umount",
            .summary = "Takes away what mount has mounted.",
            .description =
                {"Makes what was written durable, unmounts and waits until the image is closed. "
                 "With mount --fs it is the folder of the file system that is named; the disk "
                 "below goes, too. A mount whose server was killed is taken away as well.",
                 "Programs that still use a file in there make it fail with exit code 7."},
            .examples = {{"vhdtool umount /mnt", "A disk or a file system."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "MOUNTPOINT", .help = "The folder, as mount printed it."},
                         file_into(folder_));
    declare_json(arguments, json_);
  }

  ExitCode run(Console& console) override {
    if (json_) console.use_json();
    if (!mount_at(folder_)) {
      return console.fail("umount: " + folder_ + ": nothing is mounted here", "not-found",
                          ExitCode::not_found);
    }
    const auto problem = stop_mount(folder_);
    if (!problem.text.empty() && problem.busy)
      return console.fail("umount: " + problem.text, "busy", ExitCode::busy);
    if (!problem.text.empty()) return console.fail("umount: " + problem.text, "io", ExitCode::io);
    if (json_) console.print_json({{"schema", kJsonSchema}, {"unmounted", folder_}});
    return ExitCode::ok;
  }

 private:
  std::string folder_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> umount_verb() { return std::make_unique<Umount>(); }

}  // namespace vhdtool
