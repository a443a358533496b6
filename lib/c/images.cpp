#include <memory>
#include <openvhd/check.hpp>
#include <openvhd/convert.hpp>
#include <openvhd/create.hpp>

#include "c/failure.hpp"
#include "c/options.hpp"

struct ovhd_report {  // NOLINT(readability-identifier-naming)
  openvhd::CheckReport report;
  /// In the order of the report: which file, which finding of it.
  std::vector<std::pair<const openvhd::FileCheck*, const openvhd::Finding*>> findings;
};

namespace openvhd::c {
namespace {

int create_image(const char* path, const ovhd_create_options* options) {
  ovhd_create_options given;
  if (!take(options, given, default_create_options()))
    return fail_argument("ovhd_create_options: struct_size, or members of a later version");
  CreateOptions wanted;
  if (const int wrong = create_from(given, wanted); wrong != 0) return wrong;
  OpenReport report;
  wanted.report = &report;
  const Status made = create(path, wanted);
  return made ? 0 : fail(made.error(), report, path);
}

int convert_image(const ovhd_convert_options* options, ovhd_convert_result* result) {
  ovhd_convert_options given;
  if (!take(options, given, default_convert_options()))
    return fail_argument("ovhd_convert_options: struct_size, or members of a later version");
  if (given.source == nullptr || given.target == nullptr)
    return fail_argument("ovhd_convert: no source, or no target");
  ovhd_create_options create;
  if (!take(given.create, create, default_create_options()))
    return fail_argument("ovhd_create_options: struct_size, or members of a later version");
  ConvertOptions wanted;
  wanted.source = given.source;
  wanted.target = given.target;
  if (!format_from(given.source_format, wanted.source_format))
    return fail_argument("source_format: no such format");
  if (const int wrong = create_from(create, wanted.create); wrong != 0) return wrong;
  if (const int wrong = policy_from(given.source_parents, wanted.source_parents); wrong != 0)
    return wrong;
  wanted.offset = {given.offset};
  if (given.length != default_convert_options().length) wanted.length = given.length;
  wanted.reflink = given.reflink != 0;
  wanted.direct = given.direct != 0;
  CallProgress progress{given.progress, given.progress_context};
  wanted.progress = progress.or_null();
  OpenReport report;
  wanted.report = &report;
  const auto done = convert(wanted);
  if (!done) return fail(done.error(), report, given.source);
  if (result == nullptr) return 0;
  ovhd_convert_result out{};
  out.virtual_size = done->virtual_size;
  out.copied_bytes = done->copied_bytes;
  out.cloned_bytes = done->cloned_bytes;
  out.skipped_bytes = done->skipped_bytes;
  out.zero_bytes = done->zero_bytes;
  give(out, result);
  return 0;
}

int check_image(const char* path, const ovhd_check_options* options, ovhd_report** report) {
  ovhd_check_options given;
  if (!take(options, given, default_check_options()))
    return fail_argument("ovhd_check_options: struct_size, or members of a later version");
  CheckOptions wanted;
  if (const int wrong = policy_from(given.parents, wanted.parents); wrong != 0) return wrong;
  wanted.chain = given.chain != 0;
  wanted.azure = given.azure != 0;
  CallProgress progress{given.progress, given.progress_context};
  wanted.progress = progress.or_null();
  OpenReport seen;
  wanted.report = &seen;
  auto judged = check(path, wanted);
  if (!judged) return fail(judged.error(), seen, path);
  auto out = std::make_unique<ovhd_report>();
  out->report = *std::move(judged);
  for (const FileCheck& file : out->report.files) {
    for (const Finding& finding : file.findings) out->findings.emplace_back(&file, &finding);
  }
  *report = out.release();
  return 0;
}

constexpr ovhd_severity severity_of(Severity severity) noexcept {
  switch (severity) {
    case Severity::note:
      return OVHD_NOTE;
    case Severity::warning:
      return OVHD_WARNING;
    case Severity::error:
      break;
  }
  return OVHD_ERROR;
}

}  // namespace
}  // namespace openvhd::c

namespace c = openvhd::c;

extern "C" {

void ovhd_create_options_init(ovhd_create_options* options, size_t struct_size) {
  c::init(options, struct_size, c::default_create_options());
}

int ovhd_create(const char* path, const ovhd_create_options* options) {
  if (path == nullptr) return c::fail_argument("ovhd_create: no path");
  return c::guarded([&] { return c::create_image(path, options); });
}

void ovhd_convert_options_init(ovhd_convert_options* options, size_t struct_size) {
  c::init(options, struct_size, c::default_convert_options());
}

int ovhd_convert(const ovhd_convert_options* options, ovhd_convert_result* result) {
  if (result != nullptr && result->struct_size < sizeof *result)
    return c::fail_argument("ovhd_convert_result: struct_size");
  return c::guarded([&] { return c::convert_image(options, result); });
}

void ovhd_check_options_init(ovhd_check_options* options, size_t struct_size) {
  c::init(options, struct_size, c::default_check_options());
}

int ovhd_check(const char* path, const ovhd_check_options* options, ovhd_report** report) {
  if (report == nullptr) return c::fail_argument("ovhd_check: nowhere to put the report");
  *report = nullptr;
  if (path == nullptr) return c::fail_argument("ovhd_check: no path");
  return c::guarded([&] { return c::check_image(path, options, report); });
}

size_t ovhd_report_count(const ovhd_report* report) { return report->findings.size(); }

int ovhd_report_finding(const ovhd_report* report, size_t index, ovhd_finding* finding) {
  if (index >= report->findings.size()) {
    return c::guarded([&] {
      return c::fail({.code = openvhd::Errc::out_of_range, .what = "no such finding"},
                     report->report.files.front().path);
    });
  }
  const auto& [file, found] = report->findings[index];
  finding->file = file->path.c_str();
  finding->id = found->id;
  finding->text = found->text.c_str();
  finding->offset = found->at.value;
  finding->severity = c::severity_of(found->severity);
  finding->repairable = found->repairable ? 1 : 0;
  return 0;
}

ovhd_severity ovhd_report_worst(const ovhd_report* report) {
  return c::severity_of(report->report.worst());
}

void ovhd_report_free(ovhd_report* report) { std::unique_ptr<ovhd_report>{report}.reset(); }

}  // extern "C"
