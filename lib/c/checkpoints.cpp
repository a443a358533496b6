#include <memory>
#include <openvhd/checkpoint.hpp>
#include <string>
#include <vector>

#include "c/failure.hpp"
#include "c/options.hpp"

struct ovhd_checkpoints {  // NOLINT(readability-identifier-naming)
  struct Ids {
    std::string id, parent;
  };
  openvhd::CheckpointTree tree;
  std::string current_parent;
  std::vector<Ids> ids;  // as text, in the order of the tree
};

namespace openvhd::c {
namespace {

std::string text_of(const std::optional<Guid>& id) { return id ? to_string(*id) : std::string{}; }

const char* or_null(const std::string& text) noexcept {
  return text.empty() ? nullptr : text.c_str();
}

std::unique_ptr<ovhd_checkpoints> handle_of(CheckpointTree tree) {
  auto out = std::make_unique<ovhd_checkpoints>();
  out->tree = std::move(tree);
  out->current_parent = text_of(out->tree.current_parent);
  for (const Checkpoint& one : out->tree.checkpoints)
    out->ids.push_back({.id = to_string(one.id), .parent = text_of(one.parent)});
  return out;
}

/// Runs one call on an image and hands out the tree. `work` gets the options with the report.
template <class Work>
int run(const char* image, ovhd_checkpoints** checkpoints, Work work) noexcept {
  if (checkpoints != nullptr) *checkpoints = nullptr;
  if (image == nullptr) return fail_argument("checkpoints: no image");
  return guarded([&] {
    OpenReport report;
    auto tree = work(CheckpointOptions{.report = &report});
    if (!tree) return fail(tree.error(), report, image);
    if (checkpoints != nullptr) *checkpoints = handle_of(*std::move(tree)).release();
    return 0;
  });
}

}  // namespace
}  // namespace openvhd::c

namespace c = openvhd::c;
using openvhd::CheckpointOptions;

extern "C" {

int ovhd_checkpoint_list(const char* image, ovhd_checkpoints** checkpoints) {
  return c::run(image, checkpoints, [&](const CheckpointOptions& options) {
    return openvhd::list_checkpoints(image, options);
  });
}

int ovhd_checkpoint_create(const char* image, const char* name, ovhd_checkpoints** checkpoints) {
  return c::run(image, checkpoints, [&](const CheckpointOptions& options) {
    return openvhd::create_checkpoint(image, name == nullptr ? "" : name, options);
  });
}

int ovhd_checkpoint_apply(const char* image, const char* which, int32_t discard,
                          ovhd_checkpoints** checkpoints) {
  if (which == nullptr) return c::fail_argument("ovhd_checkpoint_apply: no checkpoint");
  return c::run(image, checkpoints, [&](const CheckpointOptions& options) {
    return openvhd::apply_checkpoint(image, which, discard != 0, options);
  });
}

int ovhd_checkpoint_delete(const char* image, const char* which, ovhd_progress progress,
                           void* progress_context, ovhd_checkpoints** checkpoints) {
  if (which == nullptr) return c::fail_argument("ovhd_checkpoint_delete: no checkpoint");
  c::CallProgress call{progress, progress_context};
  return c::run(image, checkpoints, [&](CheckpointOptions options) {
    options.progress = call.or_null();
    return openvhd::delete_checkpoint(image, which, options);
  });
}

int ovhd_checkpoint_rename(const char* image, const char* which, const char* name,
                           ovhd_checkpoints** checkpoints) {
  if (which == nullptr || name == nullptr)
    return c::fail_argument("ovhd_checkpoint_rename: no checkpoint, or no name");
  return c::run(image, checkpoints, [&](const CheckpointOptions& options) {
    return openvhd::rename_checkpoint(image, which, name, options);
  });
}

const char* ovhd_checkpoints_current(const ovhd_checkpoints* checkpoints) {
  return checkpoints->tree.current.c_str();
}

const char* ovhd_checkpoints_current_parent(const ovhd_checkpoints* checkpoints) {
  return c::or_null(checkpoints->current_parent);
}

size_t ovhd_checkpoints_count(const ovhd_checkpoints* checkpoints) {
  return checkpoints->tree.checkpoints.size();
}

int ovhd_checkpoints_get(const ovhd_checkpoints* checkpoints, size_t index,
                         ovhd_checkpoint* checkpoint) {
  if (index >= checkpoints->tree.checkpoints.size()) {
    return c::guarded([&] {
      return c::fail({.code = openvhd::Errc::out_of_range, .what = "no such checkpoint"},
                     checkpoints->tree.current);
    });
  }
  const auto& one = checkpoints->tree.checkpoints[index];
  const auto& ids = checkpoints->ids[index];
  checkpoint->id = ids.id.c_str();
  checkpoint->name = one.name.c_str();
  checkpoint->file = one.file.c_str();
  checkpoint->parent = c::or_null(ids.parent);
  checkpoint->created_unix = one.created_unix;
  checkpoint->hidden = one.hidden ? 1 : 0;
  return 0;
}

void ovhd_checkpoints_free(ovhd_checkpoints* checkpoints) {
  std::unique_ptr<ovhd_checkpoints>{checkpoints}.reset();
}

}  // extern "C"
