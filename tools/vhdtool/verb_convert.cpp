#include <fmt/format.h>
#include <unistd.h>

#include <openvhd/convert.hpp>

#include "console.hpp"
#include "progress_bar.hpp"
#include "report.hpp"
#include "shared_options.hpp"
#include "signals.hpp"
#include "text.hpp"
#include "verb.hpp"

namespace vhdtool {
namespace {

using openvhd::DiskType;
using openvhd::Format;

class Convert : public Verb {
 public:
  VerbText text() const override {
    return {
        .name = "convert",
        .summary = "Copies a disk into an image of another format or type.",
        .description =
            {"Copies what SRC reads as, its parents included, to DST. Ranges that are not stored "
             "or zero are skipped, zeros are found and not written, and where the file system "
             "shares extents (XFS, btrfs) data is shared and not moved.",
             "The format of SRC comes from its content, that of DST from its ending; raw has to be "
             "named with --from and --to. \"-\" is standard input or output: raw in, raw or fixed "
             "VHD out, raw where nothing is named; what looks like an image on standard input is "
             "refused unless --from raw says that its bytes are the disk. nbd:// and nbd+unix:// "
             "URIs are raw disks; through the servers of QEMU or nbdkit they stand for anything "
             "those can open.",
             "A raw disk that is no multiple of 512 bytes, or with --azure of 1 MiB, is filled up "
             "with zeros, which a note tells.",
             "DST is on stable storage when the program ends. An existing file is left alone "
             "unless --overwrite is given; on failure, and when interrupted, no new file stays "
             "behind. A change of the logical sector size makes partition tables unreadable and "
             "must be asked for with --logical-sector."},
        .examples = {{"vhdtool convert disk.vhdx disk.raw --to raw", "To a raw disk."},
                     {"vhdtool convert disk.raw azure.vhd --from raw --azure", "For Azure."},
                     {"vhdtool convert child.avhdx flat.vhdx --parent-dir /srv/base",
                      "A chain into one image."},
                     {"vhdtool convert disk.vhd - | zstd > disk.raw.zst", "To a stream."},
                     {"vhdtool convert nbd+unix:///?socket=/run/q.sock disk.vhdx",
                      "From a server, such as qemu-nbd with a qcow2."}}};
  }

  void declare(Arguments& arguments) override {
    arguments.positional({.name = "SRC", .help = "A file, \"-\", or an NBD URI."},
                         file_into(options_.source));
    arguments.positional({.name = "DST", .help = "A file, \"-\", or an NBD URI."},
                         file_into(options_.target));
    arguments.option({.name = "--from",
                      .value = "FORMAT",
                      .help = "The format of SRC: raw, vhd or vhdx. Without it the content tells; "
                              "raw is never guessed."},
                     choice_into(options_.source_format, all_formats()));
    arguments.option({.name = "--to",
                      .value = "FORMAT",
                      .help = "The format of DST: raw, vhd or vhdx. Without it the file name "
                              "tells; raw has to be named."},
                     choice_into(options_.create.format, all_formats()));
    arguments.option({.name = "--type",
                      .value = "TYPE",
                      .help = "fixed or dynamic. Without it: fixed with --azure, for raw and for "
                              "standard output, else dynamic."},
                     choice_into(type_, types()));
    declare_shape(arguments);
    declare_part(arguments);
    declare_parents(arguments, options_.source_parents);
    declare_json(arguments, json_);
  }

  ExitCode run(Console& console) override {
    if (json_) console.use_json();
    const bool to_stdout = options_.target == "-";
    if (to_stdout) {
      if (::isatty(STDOUT_FILENO) == 1)
        return console.usage("convert: standard output is a terminal");
      console.keep_output_clear();
      survive_closed_pipes();
    }
    const bool fixed = options_.create.azure || to_stdout || options_.create.format == Format::raw;
    if (type_ == DiskType::dynamic && options_.create.azure)
      return console.usage("convert: --azure makes a fixed VHD, no dynamic one");
    if (type_ == DiskType::dynamic && options_.create.format == Format::raw)
      return console.usage("convert: a raw disk is fixed, not dynamic");
    options_.create.type = type_.value_or(fixed ? DiskType::fixed : DiskType::dynamic);
    openvhd::OpenReport report;
    options_.report = &report;
    const auto result = [&] {
      ProgressBar bar{"convert"};
      options_.progress = &bar;
      return openvhd::convert(options_);
    }();
    if (!result) return console.fail(failure_of(result.error(), report, options_.source));
    if (json_) {
      console.print_json(convert_json(*result));
    } else {
      console.print(fmt::format("{}: {}", printable(options_.target), convert_text(*result)));
    }
    console.notes(report.notes);
    console.notes(result->notes);
    return ExitCode::ok;
  }

 private:
  // A differencing target has no meaning: what is copied is the whole disk.
  static std::vector<std::pair<std::string, DiskType>> types() {
    return {{"fixed", DiskType::fixed}, {"dynamic", DiskType::dynamic}};
  }

  void declare_shape(Arguments& arguments) {
    auto& create = options_.create;
    arguments.option({.name = "--block-size",
                      .value = "SIZE",
                      .help = "The unit of allocation of DST, as for create."},
                     amount_into(create.block_size));
    arguments.option({.name = "--logical-sector",
                      .value = "BYTES",
                      .help = "512 or 4096, VHDX only. That of SRC without it."},
                     choice_into(create.logical_sector_size, sector_sizes()));
    arguments.option({.name = "--azure",
                      .help = "Makes what Azure takes: a fixed VHD whose size is a multiple of "
                              "1 MiB."},
                     flag_into(create.azure));
    arguments.option({.name = "--no-sparse",
                      .help = "Writes zeros out too, for targets that refuse sparse files, such as "
                              "Hyper-V over SMB."},
                     flag_into(create.no_sparse));
    arguments.option({.name = "--overwrite", .help = "Replaces an existing file."},
                     flag_into(create.overwrite));
    arguments.option({.name = "--no-reflink",
                      .help = "Moves all data, also where the file system could share it."},
                     flag_clears(options_.reflink));
    arguments.option({.name = "--no-direct", .help = "Goes through the page cache."},
                     flag_clears(options_.direct));
  }

  void declare_part(Arguments& arguments) {
    arguments.option({.name = "--offset",
                      .value = "OFFSET",
                      .help = "Copies from here on, in bytes of the virtual disk."},
                     size_into(options_.offset.value));
    arguments.option({.name = "--length",
                      .value = "LENGTH",
                      .help = "Copies this much. To the end of the disk without it."},
                     amount_into(options_.length));
  }

  openvhd::ConvertOptions options_;
  std::optional<DiskType> type_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Verb> convert_verb() { return std::make_unique<Convert>(); }

}  // namespace vhdtool
