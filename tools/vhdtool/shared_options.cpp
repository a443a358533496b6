#include "shared_options.hpp"

#include <limits>

#include "size.hpp"

namespace vhdtool {

using openvhd::DiskType;
using openvhd::Format;

namespace {

Binding parents_into(std::vector<openvhd::ParentFile>& chain, std::optional<Format> format) {
  return {.assign =
              [&chain, format](const std::string& text) {
                chain.push_back({.path = text, .format = format});
                return std::string{text.empty() ? "must not be empty" : ""};
              },
          .repeats = true,
          .completes = Completes::file};
}

Binding owners_into(std::vector<std::uint32_t>& owners) {
  return {.assign =
              [&owners](const std::string& text) {
                const auto id = parse_number(text, std::numeric_limits<std::uint32_t>::max());
                if (!id) return "'" + text + "' is not a user id";
                owners.push_back(static_cast<std::uint32_t>(*id));
                return std::string{};
              },
          .repeats = true};
}

}  // namespace

FormatChoices all_formats() {
  return {{"raw", Format::raw}, {"vhd", Format::vhd}, {"vhdx", Format::vhdx}};
}

FormatChoices image_formats() { return {{"vhd", Format::vhd}, {"vhdx", Format::vhdx}}; }

std::vector<std::pair<std::string, DiskType>> disk_types() {
  return {{"fixed", DiskType::fixed},
          {"dynamic", DiskType::dynamic},
          {"differencing", DiskType::differencing}};
}

std::vector<std::pair<std::string, std::uint32_t>> sector_sizes() {
  return {{"512", 512U}, {"4096", 4096U}};
}

void declare_json(Arguments& arguments, bool& json) {
  arguments.option({.name = "--json", .help = "Prints JSON of a documented shape."},
                   flag_into(json));
}

void declare_format(Arguments& arguments, std::optional<Format>& format) {
  arguments.option({.name = "--format",
                    .value = "FORMAT",
                    .help = "The format of FILE: raw, vhd or vhdx. Without it the content tells; "
                            "raw is never guessed."},
                   choice_into(format, all_formats()));
}

void declare_parent_dirs(Arguments& arguments, openvhd::ParentPolicy& policy) {
  arguments.option({.name = "--parent-dir",
                    .value = "DIR",
                    .help = "A directory, beside that of the child, in which parents may lie. May "
                            "be given several times."},
                   directories_into(policy.parent_dirs));
  arguments.option(
      {.name = "--cross-device", .help = "Parents may lie on another mount than their child."},
      flag_into(policy.cross_device));
  arguments.option({.name = "--trust-owner",
                    .value = "UID",
                    .help = "A user, beside the owner of the child and root, to whom parents may "
                            "belong. May be given several times."},
                   owners_into(policy.trusted_owners));
}

void declare_parents(Arguments& arguments, openvhd::ParentPolicy& policy) {
  arguments.option({.name = "--parent",
                    .value = "FILE",
                    .help = "A parent by name, the nearest first, for the whole chain. What the "
                            "images say of their parents is then verified and not followed."},
                   parents_into(policy.chain, std::nullopt));
  arguments.option({.name = "--raw-parent",
                    .value = "FILE",
                    .help = "As --parent, for a raw disk, of which nothing can be verified."},
                   parents_into(policy.chain, Format::raw));
  declare_parent_dirs(arguments, policy);
}

}  // namespace vhdtool
