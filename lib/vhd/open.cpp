#include <algorithm>
#include <cctype>

#include "base/try.hpp"
#include "vhd/fixed_layer.hpp"
#include "vhd/sparse_layer.hpp"
#include "vhd/vhd.hpp"

namespace openvhd::vhd {
namespace {

/// Virtual PC keeps what an undoable session wrote in such a file, and decides its fate itself.
bool is_undo_disk(std::string_view name) {
  constexpr std::string_view kEnding = ".vud";
  return name.size() >= kEnding.size() &&
         std::ranges::equal(name.substr(name.size() - kEnding.size()), kEnding,
                            [](char a, char b) { return (a | 0x20) == b; });
}

}  // namespace

Status may_write(const File& file, const ParsedImage& image) {
  const auto refuse = [&](const char* what) {
    return Error{.code = Errc::read_only, .where = image.footer_at, .what = what};
  };
  if (!file.writable()) return refuse("the file is opened for reading");
  if (image.footer.saved_state != 0)
    return refuse("footer: in saved state, a write would break the saved machine (FORMAT 93)");
  if (is_undo_disk(file.name())) return refuse("an undo disk is not to be written (FORMAT 93)");
  return Ok{};
}

LayerInfo info_of(const ParsedImage& image) {
  LayerInfo out;
  out.format = Format::vhd;
  out.type = image.type;
  out.geometry = {.virtual_size = image.virtual_size, .block_size = image.block_size};
  out.creator = creator_text(image.footer);
  out.creator_os = creator_os_text(image.footer);
  out.identifier = Guid{image.footer.unique_id};
  out.created_unix = unix_time(image.footer.time_stamp);
  out.saved_state = image.footer.saved_state != 0;
  for (const Finding& finding : image.findings)
    out.notes.push_back(finding.text + " (" + finding.id + ")");
  return out;
}

Result<OpenedImage> open(std::unique_ptr<File> file, const LayerOpenOptions& options, Host& host) {
  ParsedImage image;
  OVHD_CHECK(parse(*file, image));
  if (options.writable) OVHD_CHECK(may_write(*file, image));
  OpenedImage out;
  if (image.type == DiskType::fixed)
    out.layer = std::make_unique<FixedLayer>(std::move(image), options);
  else
    out.layer = std::make_unique<SparseLayer>(std::move(image), options, host);
  out.file = std::move(file);
  return out;
}

}  // namespace openvhd::vhd
