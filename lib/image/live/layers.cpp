// Changes of a disk's layers while queues are open: still moments, and what may be done in them.
#include <utility>

#include "base/try.hpp"
#include "image/disk_state.hpp"
#include "image/live/broken_layer.hpp"
#include "image/live/write_notes.hpp"
#include "image/queue/chain_finder.hpp"
#include "image/queue/owner.hpp"

namespace openvhd::detail {

/// Shuts the ways past the owner, and opens them again.
class DiskState::Moment final : public StillMoment {
 public:
  Moment(DiskState& disk, const Action& action) noexcept : disk_{disk}, action_{action} {}

  void begin() noexcept override {
    disk_.generation_.fetch_add(1, std::memory_order_seq_cst);
    // In this order: who keeps an answer under the new count sees the new generation.
    disk_.chain_.leaf().withdraw_answers();
  }
  bool quiet() noexcept override {
    if (disk_.readers_.advance()) ++moves_;
    return moves_ >= Readers::kMovesUntilOver;
  }
  Status act() noexcept override { return action_(); }
  void end() noexcept override { disk_.generation_.fetch_add(1, std::memory_order_seq_cst); }

 private:
  DiskState& disk_;
  const Action& action_;
  unsigned moves_ = 0;
};

Geometry DiskState::geometry() const noexcept {
  Geometry out = shape_;
  out.virtual_size = virtual_size();
  out.block_size = block_size_.load(std::memory_order_relaxed);
  return out;
}

bool DiskState::owner_is_elsewhere() const noexcept {
  return owner_ != nullptr && !owner_->is_this_thread();
}

std::vector<std::string> DiskState::paths_now() const {
  const std::scoped_lock lock{naming_};
  return opened_.paths;
}

Status DiskState::ensure_owner() {
  const std::scoped_lock lock{joining_};
  if (closed_) return Error{.code = Errc::invalid, .what = "the disk is closed"};
  return start_owner();
}

Result<DiskState::Change> DiskState::begin_change() {
  const std::scoped_lock lock{joining_};
  if (closed_) return Error{.code = Errc::invalid, .what = "the disk is closed"};
  if (!writable()) return Error{.code = Errc::read_only, .what = "opened for reading"};
  if (changing_) return Error{.code = Errc::busy, .what = "its layers are being changed already"};
  changing_ = true;
  return Change{*this};
}

void DiskState::end_change() noexcept {
  const std::scoped_lock lock{joining_};
  changing_ = false;
}

Status DiskState::still(const Action& action) {
  {
    // Without an owner there are no queues, and none comes until this is over.
    const std::scoped_lock lock{joining_};
    if (!owner_) return action();
  }
  if (!owner_is_elsewhere()) return action();
  Moment moment{*this, action};
  Job job{.kind = Job::Kind::still, .moment = &moment};
  return owner_->run(job);
}

void DiskState::ask(const std::function<void()>& question) noexcept {
  if (!owner_is_elsewhere()) return question();
  Job job{.kind = Job::Kind::call,
          .call =
              [](Job& asked) noexcept {
                (*static_cast<const std::function<void()>*>(asked.context))();
              },
          .context = const_cast<std::function<void()>*>(&question)};
  static_cast<void>(owner_->run(job));
}

std::uint64_t DiskState::requests_served() const noexcept {
  return owner_ ? owner_->requests() : 0;
}

Status DiskState::run_in_background(Job& job) noexcept {
  job.background = true;
  return run(job);
}

void DiskState::hold_changes(VirtualOffset at, std::uint64_t length) noexcept {
  if (owner_) owner_->hold(at, length);
}

void DiskState::release_changes() noexcept {
  if (owner_) owner_->release();
}

/// What follows from other images.
void DiskState::layers_changed() {
  files_ = files_of(opened_);
  chain_ = chain_of(opened_);
  chain_.note_writes(notes_.get());
  const Geometry& leaf = chain_.geometry();
  virtual_size_.store(leaf.virtual_size, std::memory_order_release);
  block_size_.store(leaf.block_size, std::memory_order_relaxed);
  type_.store(image(0).type(), std::memory_order_relaxed);
  if (finder_) finder_ = std::make_unique<ChainFinder>(chain_, ChainFinder::kBytes);
  ++layer_changes_;
}

void DiskState::note_writes(std::shared_ptr<WriteNotes> notes) noexcept {
  chain_.note_writes(notes.get());
  notes_ = std::move(notes);
}

std::shared_ptr<File> DiskState::share_file(std::size_t index) {
  std::unique_ptr<File>& file = opened_.images[index].file;
  if (const auto* kept = dynamic_cast<const KeptFile*>(file.get())) return kept->shared();
  std::shared_ptr<File> shared{std::move(file)};
  file = std::make_unique<KeptFile>(shared);
  files_ = files_of(opened_);
  return shared;
}

Status DiskState::close_leaf() noexcept {
  Job job{.kind = Job::Kind::close};
  return run(job);
}

Status DiskState::edit_leaf(const Edit& edit) {
  const std::shared_ptr<File> file = share_file(0);
  OVHD_CHECK(close_leaf());
  const Status edited = edit(*file);
  const Status opened = reopen_leaf(file);
  return edited ? opened : edited;
}

Status DiskState::reopen_leaf(const std::shared_ptr<File>& file) {
  OpenedImage& leaf = opened_.images.front();
  const Guid id = leaf.layer->link_identity();
  const bool written = leaf_was_written();
  auto again = open_layer(opened_.format, std::make_unique<KeptFile>(file), opened_.how, *host_);
  if (!again) {
    break_leaf(again.error());
    return again.error();
  }
  again->first_id = leaf.first_id;
  leaf = *std::move(again);
  if (leaf.layer->link_identity() != id) {
    leaf.first_id = leaf.layer->link_identity();
  } else if (written) {
    // Who has written to it goes on writing: no other id.
    leaf.layer->set_link_identity(id);
  }
  if (owner_) leaf.layer->share(readers_);
  layers_changed();
  return Ok{};
}

Status DiskState::renew_leaf() {
  const auto as_it_is = [this](File&) {
    opened_.images.front().first_id = opened_.images.front().layer->link_identity();
    return Status{Ok{}};
  };
  const Status renewed = edit_leaf(as_it_is);
  if (!renewed) break_leaf(renewed.error());
  return renewed;
}

void DiskState::break_leaf(Error reason) {
  OpenedImage& leaf = opened_.images.front();
  reason.code = Errc::poisoned;
  leaf.layer =
      std::make_unique<BrokenLayer>(leaf.layer->geometry(), leaf.layer->type(), leaf.layer->info(),
                                    leaf.layer->link_identity(), reason);
  layers_changed();
}

void DiskState::push_leaf(OpenedImage image, std::string path) {
  image.first_id = image.layer->link_identity();
  if (owner_) image.layer->share(readers_);
  {
    const std::scoped_lock lock{naming_};
    opened_.paths.insert(opened_.paths.begin(), std::move(path));
  }
  opened_.images.insert(opened_.images.begin(), std::move(image));
  layers_changed();
}

void DiskState::drop_layer(std::size_t index) {
  const auto at = static_cast<std::ptrdiff_t>(index);
  // A layer goes before the file that it is over.
  opened_.images[index].layer.reset();
  opened_.images.erase(opened_.images.begin() + at);
  {
    const std::scoped_lock lock{naming_};
    opened_.paths.erase(opened_.paths.begin() + at);
  }
  layers_changed();
}

void DiskState::replace_layer(std::size_t index, OpenedImage image) {
  image.first_id = image.layer->link_identity();
  if (owner_) image.layer->share(readers_);
  opened_.images[index].layer.reset();
  opened_.images[index] = std::move(image);
  layers_changed();
}

}  // namespace openvhd::detail
