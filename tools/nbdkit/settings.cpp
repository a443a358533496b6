#include "settings.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace openvhd::nbd {
namespace {

constexpr std::size_t kMostFiles = 64;

std::optional<bool> truth(std::string_view text) noexcept {
  for (const char* yes : {"1", "true", "yes", "on"}) {
    if (text == yes) return true;
  }
  for (const char* no : {"0", "false", "no", "off"}) {
    if (text == no) return false;
  }
  return std::nullopt;
}

std::optional<Format> format_of(std::string_view text) noexcept {
  for (const auto format : {Format::raw, Format::vhd, Format::vhdx}) {
    if (text == to_string(format)) return format;
  }
  return std::nullopt;
}

std::optional<std::uint32_t> user_of(std::string_view text) noexcept {
  std::uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return id;
}

}  // namespace

const char kKeys[] =
    "[file=]<IMAGE>         An image to serve; may be given several times. Several are exports\n"
    "                       by the names of their files.\n"
    "format=raw|vhd|vhdx    The format; without it the content tells, raw is never guessed.\n"
    "readonly=<BOOL>        Opens for reading: other readers may come. Without it the image is\n"
    "                       locked for writing, also under nbdkit -r.\n"
    "direct=<BOOL>          Transfers that are aligned bypass the page cache.\n"
    "parent-dir=<DIR>       A directory in which parents may lie; may be given several times.\n"
    "parent=<FILE>          A parent by name, nearest first; verified, not followed.\n"
    "raw-parent=<FILE>      The same, for a raw disk.\n"
    "cross-device=<BOOL>    Parents may lie on another mount than their child.\n"
    "trust-owner=<UID>      A user to whom parents may belong; may be given several times.";

std::string Settings::take(std::string_view key, const std::string& value) {
  if (key == "file") {
    if (value.empty()) return "file must not be empty";
    files.push_back(value);
  } else if (key == "format") {
    open.format = format_of(value);
    if (!open.format) return "format is raw, vhd or vhdx, not '" + value + "'";
  } else if (key == "readonly" || key == "direct" || key == "cross-device") {
    const auto yes = truth(value);
    if (!yes) return std::string{key} + " is true or false, not '" + value + "'";
    if (key == "readonly") open.access = *yes ? Access::read_only : Access::read_write;
    if (key == "direct") open.direct = *yes;
    if (key == "cross-device") open.parents.cross_device = *yes;
  } else if (key == "parent-dir") {
    open.parents.parent_dirs.push_back(value);
  } else if (key == "parent") {
    open.parents.chain.push_back({.path = value});
  } else if (key == "raw-parent") {
    open.parents.chain.push_back({.path = value, .format = Format::raw});
  } else if (key == "trust-owner") {
    const auto user = user_of(value);
    if (!user) return "trust-owner is a user id, not '" + value + "'";
    open.parents.trusted_owners.push_back(*user);
  } else {
    return "unknown parameter '" + std::string{key} + "'";
  }
  return {};
}

std::string Settings::problem() const {
  if (files.empty()) return "no image is named: file=IMAGE";
  if (files.size() > kMostFiles) return "more than 64 images";
  auto names = export_names(files);
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  if (twice != names.end()) return "two images have the name '" + *twice + "'";
  return {};
}

std::vector<std::string> export_names(const std::vector<std::string>& files) {
  std::vector<std::string> names;
  for (const std::string& file : files) {
    const auto slash = file.rfind('/');
    names.push_back(files.size() == 1            ? std::string{}
                    : slash == std::string::npos ? file
                                                 : file.substr(slash + 1));
  }
  return names;
}

}  // namespace openvhd::nbd
