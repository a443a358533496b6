#include "vhd/file_tail.hpp"

#include <algorithm>

namespace openvhd::vhd {
namespace {

constexpr std::uint64_t kFirstStep = 64 * kMiB;
constexpr std::uint64_t kMostStep = kGiB;
constexpr std::uint64_t kLeastStep = kMiB;
constexpr std::uint64_t kFooterAlignment = 4096;

}  // namespace

FileTail::FileTail(const ParsedImage& image)
    : copy_is_current_{image.copy_is_current || !image.footer_at_end},
      file_size_{image.file_size},
      limit_{image.footer_at_end ? image.footer_at.value : 0},
      fresh_from_{image.data_limit()},
      old_at_{image.footer_at.value},
      old_length_{image.footer_at_end ? image.file_size - image.footer_at.value : 0},
      step_{kFirstStep} {
  store(footer_, image.footer);
}

Pending FileTail::make_room(std::uint64_t bytes) noexcept {
  while (limit_ < bytes) {
    if (stage_ == Stage::idle) begin_growth(bytes);
    if (auto blocked = run()) return blocked;
  }
  return std::nullopt;
}

Pending FileTail::settle(std::uint64_t end) noexcept {
  // A growth that nobody needs any more may still be on its way: it ends first.
  while (stage_ != Stage::idle || limit_ != end || file_size_ != end + kFooterBytes ||
         !copy_is_current_) {
    if (stage_ == Stage::idle) {
      settling_ = true;
      target_ = end;
      begin(copy_is_current_ ? Stage::write_footer : Stage::write_copy);
    }
    if (auto blocked = run()) return blocked;
  }
  return std::nullopt;
}

void FileTail::begin_growth(std::uint64_t bytes) noexcept {
  settling_ = false;
  needed_ = bytes;
  target_ = align_up(std::max(bytes + step_, file_size_), kFooterAlignment);
  begin(copy_is_current_ ? Stage::reserve : Stage::write_copy);
}

void FileTail::begin(Stage stage) noexcept {
  using Kind = IoCommand::Kind;
  stage_ = stage;
  switch (stage) {
    case Stage::idle:
      break;
    case Stage::write_copy:
      call_.write({}, footer_, "footer copy: write (V02)");
      break;
    case Stage::reserve:
      call_.run(Kind::reserve, {file_size_}, target_ + kFooterBytes - file_size_,
                "growing the file (V08)");
      break;
    case Stage::write_footer:
      call_.write({target_}, footer_, "footer: write (V08)");
      break;
    case Stage::clear_old:
      call_.write({old_at_}, std::span{zeros_}.first(old_length_), "old footer: clear (V08)");
      break;
    case Stage::cut:
      call_.run(Kind::set_size, {target_ + kFooterBytes}, 0, "cutting the file (V08)");
      break;
    case Stage::sync_copy:
    case Stage::sync_footer:
    case Stage::sync_cut:
      call_.run(Kind::sync, {}, 0, "sync of a footer (V08)");
      break;
  }
}

FileTail::Stage FileTail::after(Stage stage) noexcept {
  switch (stage) {
    case Stage::idle:
      break;
    case Stage::write_copy:
      return Stage::sync_copy;
    case Stage::sync_copy:
      copy_is_current_ = true;
      return settling_ ? Stage::write_footer : Stage::reserve;
    case Stage::reserve:
      file_size_ = target_ + kFooterBytes;
      return Stage::write_footer;
    case Stage::write_footer:
      file_size_ = std::max(file_size_, target_ + kFooterBytes);
      return Stage::sync_footer;
    case Stage::sync_footer:
      return footer_is_durable();
    case Stage::cut:
      file_size_ = target_ + kFooterBytes;
      return Stage::sync_cut;
    case Stage::clear_old:
    case Stage::sync_cut:
      grown();
      break;
  }
  return Stage::idle;
}

FileTail::Stage FileTail::footer_is_durable() noexcept {
  if (settling_ && file_size_ > target_ + kFooterBytes) return Stage::cut;
  if (!settling_ && old_length_ != 0) return Stage::clear_old;
  grown();
  return Stage::idle;
}

void FileTail::grown() noexcept {
  limit_ = target_;
  old_at_ = target_;
  old_length_ = kFooterBytes;
  step_ = std::clamp(2 * step_, kLeastStep, kMostStep);
}

void FileTail::complete(std::int32_t result) noexcept {
  call_.completed(result);
  changed_ = changed_ || !call_.failed();
  if (call_.failed() && stage_ != Stage::write_copy && stage_ != Stage::reserve)
    lost_ = call_.error();
}

/// True when a growth that found no room on the host is to be tried with less.
bool FileTail::smaller_step() noexcept {
  if (step_ == 0) return false;
  step_ = step_ > kLeastStep ? step_ / 4 : 0;
  return true;
}

Pending FileTail::run() noexcept {
  while (stage_ != Stage::idle) {
    auto blocked = advance(call_, token_of(TokenKind::tail, 0));
    if (!blocked) {
      call_.reset();
      begin(after(stage_));
      continue;
    }
    const Error* const error = std::get_if<Error>(&blocked->why);
    if (error == nullptr) return blocked;
    const Stage failed = std::exchange(stage_, Stage::idle);
    const bool no_room = failed == Stage::reserve && error->code == Errc::no_space;
    if (no_room && smaller_step()) {
      begin_growth(needed_);
      continue;
    }
    return blocked;
  }
  return std::nullopt;
}

}  // namespace openvhd::vhd
