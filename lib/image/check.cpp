#include <algorithm>
#include <cerrno>
#include <openvhd/check.hpp>

#include "base/try.hpp"
#include "image/open.hpp"
#include "image/undo_file.hpp"
#include "io/new_file.hpp"
#include "vhd/vhd.hpp"
#include "vhdx/vhdx.hpp"

namespace openvhd {
namespace {

constexpr std::size_t kMostFindings = 1000;
constexpr const char* kUndoEnding = ".undo";

/// Of an image whose first sign is damaged, what others and its name say; empty where they say
/// nothing.
Result<std::optional<Format>> format_of_remains(File& file) {
  OVHD_TRY(const bool has_header, vhdx::probe_header(file));
  if (has_header) return std::optional{Format::vhdx};
  const std::string& name = file.name();
  for (const char* ending : {".vhdx", ".avhdx"}) {
    if (name.ends_with(ending)) return std::optional{Format::vhdx};
  }
  for (const char* ending : {".vhd", ".avhd"}) {
    if (name.ends_with(ending)) return std::optional{Format::vhd};
  }
  return std::optional<Format>{};
}

Result<Format> format_of(File& file) {
  OVHD_TRY(const auto format, probe(file));
  if (format) return *format;
  OVHD_TRY(const auto likely, format_of_remains(file));
  if (likely) return *likely;
  return Error{.code = Errc::unsupported, .what = "neither VHD nor VHDX (X01, V01)"};
}

Status check_file(File& file, Format format, const CheckOptions& options, FileCheck& out) {
  out.format = format;
  auto& findings = out.findings;
  // One more than are kept shows that there are more; the formats stop counting there.
  const std::size_t limit = kMostFindings + 1;
  if (format == Format::vhdx) {
    OVHD_CHECK(vhdx::check(file, findings, limit, options.progress));
    if (options.azure) {
      findings.push_back({.id = "AZ01",
                          .severity = Severity::error,
                          .text = "Azure takes fixed VHD only, this is a VHDX"});
    }
  } else {
    OVHD_CHECK(vhd::check(file, options.azure, findings, limit, options.progress));
  }
  if (findings.size() > kMostFindings) {
    out.suppressed = findings.size() - kMostFindings;
    findings.resize(kMostFindings);
  }
  return Ok{};
}

/// A chain's fault as a finding of the child's.
Finding link_finding(const Error& error, const std::string& parent_path) {
  const bool cycle = std::string_view{error.what}.find("C02") != std::string_view::npos;
  return {.id = cycle ? "C02" : "C01",
          .severity = Severity::error,
          .at = error.where,
          .text = describe(error, parent_path)};
}

bool has_errors(const FileCheck& file) {
  return std::ranges::any_of(file.findings,
                             [](const Finding& f) { return f.severity == Severity::error; });
}

/// What a child has to say about a parent that opened (C01, C02).
void judge_link(const ImageLayer& child, const ImageLayer& parent, const std::string& parent_path,
                FileCheck& out) {
  if (const Status link = verify_link(child, parent, false); !link) {
    out.findings.push_back(link_finding(link.error(), parent_path));
  } else if (parent.link_identity() != child.parent_link()->linkage) {
    out.findings.push_back(
        {.id = "C01",
         .severity = Severity::warning,
         .text =
             parent_path + ": fits the second linkage only, as while a merge is under way (C01)"});
  }
}

/// An image into which a merge was interrupted is sound, and no disk by itself (C05).
void judge_beside(FileCheck& out) {
  if (!merge_is_pending(out.path)) return;
  out.findings.push_back({.id = "C05",
                          .severity = Severity::warning,
                          .text = "a merge into it was interrupted: vhdtool merge --resume "
                                  "finishes it (C05)"});
}

/// A chain while it is being checked: what was opened stays open and locked.
struct Climb {
  std::vector<OpenedImage> images;
  std::vector<HostFile> hosts;
};

/// From here on errors are about this file.
void blame(const CheckOptions& options, const std::string& path) {
  if (options.report != nullptr) options.report->files = {path};
}

/// Different files may be one disk: copies of each other.
bool is_in_chain(const Climb& up, const ImageLayer& layer) {
  const Guid id = layer.link_identity();
  return !id.is_nil() && std::ranges::any_of(up.images, [&](const OpenedImage& image) {
    return image.layer->link_identity() == id;
  });
}

/// Checks the parent of the last image and moves up to it. False: there is no way further.
Result<bool> climb(Climb& up, Format format, const CheckOptions& options, Host& host,
                   CheckReport& report) {
  const OpenOptions open{.access = Access::read_only, .parents = options.parents};
  const ImageLayer& child = *up.images.back().layer;
  const std::string child_path = report.files.back().path;
  auto found = find_parent(child, up.hosts, open);
  if (!found) {
    report.files.back().findings.push_back(link_finding(found.error(), child_path));
    return false;
  }
  const std::size_t index = up.images.size();
  const auto& named = options.parents.chain;
  if (index <= named.size() && named[index - 1].format == Format::raw) return false;
  FileCheck parent_check{.path = found->file->name()};
  blame(options, parent_check.path);
  OVHD_CHECK(check_file(*found->file, format, options, parent_check));
  judge_beside(parent_check);
  up.hosts.push_back({found->file.get(), std::move(found->place)});
  auto parent = open_layer(format, std::move(found->file), {}, host);
  const std::string parent_path = parent_check.path;
  FileCheck& child_check = report.files.back();
  if (parent) judge_link(child, *parent->layer, parent_path, child_check);
  if (has_errors(parent_check)) {
    child_check.findings.push_back({.id = "C01",
                                    .severity = Severity::error,
                                    .text = parent_path + ": the parent breaks rules (C01)"});
  }
  const bool twice = parent && is_in_chain(up, *parent->layer);
  if (twice) {
    child_check.findings.push_back(
        {.id = "C02",
         .severity = Severity::error,
         .text = parent_path + ": its identity is in the chain already (C02)"});
  }
  report.files.push_back(std::move(parent_check));
  if (!parent || twice) return false;
  up.images.push_back(*std::move(parent));
  return true;
}

/// Each parent is checked like the leaf, and so are the links. Stops where none opens further.
Status check_parents(std::unique_ptr<PosixFile> file, Format format, const CheckOptions& options,
                     Host& host, CheckReport& report) {
  Climb up;
  OVHD_TRY(ImagePlace place, place_of(*file));
  up.hosts.push_back({file.get(), std::move(place)});
  auto leaf = open_layer(format, std::move(file), {}, host);
  if (!leaf) return Ok{};  // the leaf's own findings say why
  up.images.push_back(*std::move(leaf));
  while (up.images.back().layer->type() == DiskType::differencing) {
    OVHD_CHECK(check_depth(options.parents, up.images.size()));
    OVHD_TRY(const bool further, climb(up, format, options, host, report));
    if (!further) break;
  }
  return Ok{};
}

Result<CheckReport> check_one(File& file, const std::string& path, const CheckOptions& options) {
  CheckReport report;
  OVHD_TRY(const Format format, format_of(file));
  FileCheck leaf{.path = path};
  OVHD_CHECK(check_file(file, format, options, leaf));
  judge_beside(leaf);
  report.files.push_back(std::move(leaf));
  return report;
}

/// An empty file under this name, which is durable: no byte of an image changes before.
Result<std::unique_ptr<PosixFile>> new_undo_file(const std::string& path) {
  auto file = NewFile::create(path, {});
  Status made = file ? file->commit() : Status{file.error()};
  if (made) return std::move(*file).take();
  Error error = made.error();
  if (error.sys_errno == EEXIST) {
    error.what = "in the way: --undo takes the earlier repair back; to keep it, remove this file";
  }
  return error;
}

Status remove_undo_file(const std::string& path) {
  OVHD_TRY(auto entry, DirectoryEntry::open(path));
  OVHD_CHECK(entry.remove(entry.leaf()));
  return entry.sync();
}

}  // namespace

bool FileCheck::clean() const noexcept {
  return std::ranges::all_of(findings,
                             [](const Finding& f) { return f.severity == Severity::note; });
}

bool CheckReport::clean() const noexcept {
  return std::ranges::all_of(files, [](const FileCheck& f) { return f.clean(); });
}

Severity CheckReport::worst() const noexcept {
  Severity worst = Severity::note;
  for (const FileCheck& file : files) {
    for (const Finding& finding : file.findings) worst = std::max(worst, finding.severity);
  }
  return worst;
}

Result<CheckReport> check(const std::string& path, const CheckOptions& options) {
  blame(options, path);
  OVHD_TRY(auto file, open_host_file(path, Access::read_only, false));
  OVHD_TRY(CheckReport report, check_one(*file, path, options));
  const Format format = *report.files.front().format;
  if (options.chain) {
    OVHD_CHECK(check_parents(std::move(file), format, options, system_host(), report));
  }
  return report;
}

Result<RepairResult> repair(const std::string& path, const CheckOptions& options) {
  RepairResult out;
  OVHD_TRY(out.before, check(path, options));
  const auto& findings = out.before.files.front().findings;
  if (std::ranges::none_of(findings, [](const Finding& f) { return f.repairable; })) {
    out.after = out.before;
    return out;
  }
  OVHD_TRY(auto file, open_host_file(path, Access::read_write, false));
  out.undo_file = path + kUndoEnding;
  blame(options, out.undo_file);
  OVHD_TRY(auto undo, new_undo_file(out.undo_file));
  auto made = UndoFile::make(*file, std::move(undo));
  if (!made) {
    static_cast<void>(remove_undo_file(out.undo_file));
    return made.error();
  }
  const std::unique_ptr<UndoFile> recorder = *std::move(made);
  blame(options, path);
  const Format format = *out.before.files.front().format;
  const Status done = format == Format::vhdx ? vhdx::repair(*recorder, system_host(), out.actions)
                                             : vhd::repair(*recorder, system_host(), out.actions);
  if (!done) {
    if (recorder->failure()) blame(options, out.undo_file);
    // With nothing to take back it would only be in the way of the next repair.
    if (!recorder->changed_target()) static_cast<void>(remove_undo_file(out.undo_file));
    return recorder->failure().value_or(done.error());
  }
  OVHD_CHECK(file->sync());
  blame(options, out.undo_file);
  OVHD_CHECK(recorder->seal());
  blame(options, path);
  OVHD_TRY(out.after, check_one(*file, path, options));
  return out;
}

Status undo_repair(const std::string& path, const CheckOptions& options) {
  blame(options, path);
  OVHD_TRY(auto file, open_host_file(path, Access::read_write, false));
  blame(options, path + kUndoEnding);
  OVHD_TRY(auto undo, open_host_file(path + kUndoEnding, Access::read_only, false));
  if (const Status back = UndoFile::put_back(*file, *undo); !back) {
    // What is wrong with the undo file is told as corrupt; all else is about the image.
    if (back.error().code != Errc::corrupt) blame(options, path);
    return back;
  }
  return remove_undo_file(path + kUndoEnding);
}

Result<ReplayResult> replay(const std::string& path, bool dry_run) {
  OVHD_TRY(auto file,
           open_host_file(path, dry_run ? Access::read_only : Access::read_write, false));
  OVHD_TRY(const Format format, format_of(*file));
  if (format == Format::vhdx) return vhdx::replay(*file, dry_run, system_host());
  ReplayResult nothing;
  OVHD_TRY(nothing.file_size_before, file->size());
  nothing.file_size_after = nothing.file_size_before;
  return nothing;
}

}  // namespace openvhd
