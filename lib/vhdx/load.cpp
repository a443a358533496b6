#include "vhdx/load.hpp"

#include "base/try.hpp"
#include "vhdx/log_replay.hpp"
#include "vhdx/overlay_file.hpp"
#include "vhdx/parse.hpp"

namespace openvhd::vhdx {
namespace {

void note_replay(const LogPlan& plan, bool into_file, ParsedImage& image) {
  image.log_summary = {.was_dirty = true, .replayed_entries = plan.entries.size()};
  image.notes.push_back("log: " + std::to_string(plan.entries.size()) +
                        (into_file ? " entries replayed into the file"
                                   : " entries replayed in memory, the file is unchanged"));
}

// L01-L08, L10. What the file will say after the replay is judged before its first byte changes:
// an image that cannot be opened is not touched.
Result<LoadedImage> replay_and_parse(std::unique_ptr<File> file, ParsedHead head, bool writable,
                                     Host& host) {
  OVHD_TRY(const LogPlan plan, plan_replay(*file, head));
  auto overlay = overlay_of(plan, *file);
  Judge judge;
  OVHD_TRY(ParsedImage image, parse_strictly(*overlay, head, judge));
  if (writable) {
    OVHD_CHECK(apply_to_file(plan, *file, head, host));
    Judge again;
    OVHD_TRY(image, parse_strictly(*file, head, again));
    note_replay(plan, true, image);
    return LoadedImage{std::move(image), std::move(file)};
  }
  note_replay(plan, false, image);
  overlay->own(std::move(file));
  return LoadedImage{std::move(image), std::move(overlay)};
}

}  // namespace

Result<LoadedImage> load_image(std::unique_ptr<File> file, bool writable, Host& host) {
  Judge judge;
  OVHD_TRY(ParsedHead head, parse_head(*file, judge));
  if (head.dirty()) return replay_and_parse(std::move(file), std::move(head), writable, host);
  OVHD_TRY(ParsedImage image, parse_strictly(*file, head, judge));
  return LoadedImage{std::move(image), std::move(file)};
}

}  // namespace openvhd::vhdx
