#include "image/convert/endpoint_nbd.hpp"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "base/checked.hpp"
#include "base/try.hpp"

namespace openvhd {
namespace {

constexpr std::uint64_t kStatusBytes = 2 * kGiB;  // asked about at once
constexpr std::size_t kMostRuns = 8192;           // kept of one answer
// Servers that emulate zeroing write: a request must end before it looks like a hang.
constexpr std::uint64_t kZeroBytes = 128 * kMiB;
constexpr std::uint32_t kMostAnswers = 256;  // when looking whether a target is all zeros

const char* name_of(Transfer::Kind kind) noexcept {
  switch (kind) {
    case Transfer::Kind::read:
      return "NBD: read";
    case Transfer::Kind::write:
      return "NBD: write";
    case Transfer::Kind::zero:
      return "NBD: write zeroes";
  }
  return "NBD";
}

}  // namespace

NbdEndpoint::NbdEndpoint(Key, NbdClient client, const Use& use)
    : client_{std::move(client)}, use_{use} {
  const NbdExport& about = client_.about();
  traits_.size = about.size;
  traits_.alignment = about.minimum_block;
  traits_.max_transfer = about.maximum_block - 2 * std::uint64_t{about.minimum_block};
  traits_.max_zero = kZeroBytes;
  traits_.zeros = about.zero ? ZeroPolicy::clear : ZeroPolicy::write;
  pending_.resize(std::size_t{std::max(use.depth, 1u)} * 2);
}

Result<std::unique_ptr<NbdEndpoint>> NbdEndpoint::open(const std::string& uri, const Use& use,
                                                       std::string& why) {
  OVHD_TRY(NbdClient client, NbdClient::connect(uri, why));
  if (use.write && client.about().read_only) {
    return Error{.code = Errc::read_only, .what = "NBD: the server exports it read-only"};
  }
  auto endpoint = std::make_unique<NbdEndpoint>(Key{}, std::move(client), use);
  endpoint->asks_status_ = endpoint->client_.about().block_status;
  if (use.write && !use.keep_full && endpoint->all_zero()) {
    endpoint->traits_.zeros = ZeroPolicy::leave;
  }
  return std::unique_ptr<NbdEndpoint>{std::move(endpoint)};
}

int NbdEndpoint::transfer_done(void* pending, int* error) {
  Pending& which = *static_cast<Pending*>(pending);
  const Transfer& transfer = *which.transfer;
  std::optional<Error> failure;
  if (*error != 0) failure = nbd_failure(*error, transfer.at.value, name_of(transfer.kind));
  which.endpoint->ended(which, failure);
  return 1;  // the command is retired
}

void NbdEndpoint::ended(Pending& pending, std::optional<Error> failure) noexcept {
  Transfer& transfer = *std::exchange(pending.transfer, nullptr);
  transfer.failure = failure;
  --in_flight_;
  ended_.push(transfer);
}

std::int64_t NbdEndpoint::submit(Pending& pending) noexcept {
  const Transfer& transfer = *pending.transfer;
  const nbd_completion_callback done{
      .callback = transfer_done, .user_data = &pending, .free = nullptr};
  nbd_handle* const h = client_.handle();
  const NbdLibrary& nbd = client_.library();
  switch (transfer.kind) {
    case Transfer::Kind::read:
      return nbd.aio_pread(h, transfer.data, transfer.length, transfer.at.value, done, 0);
    case Transfer::Kind::write:
      return nbd.aio_pwrite(h, transfer.data, transfer.length, transfer.at.value, done, 0);
    case Transfer::Kind::zero:
      break;
  }
  return nbd.aio_zero(h, transfer.length, transfer.at.value, done,
                      use_.keep_full ? LIBNBD_CMD_FLAG_NO_HOLE : 0);
}

void NbdEndpoint::start(Transfer& transfer) noexcept {
  const auto slot = std::ranges::find(pending_, nullptr, &Pending::transfer);
  if (slot == pending_.end()) {
    transfer.failure = Error{.code = Errc::busy, .what = "NBD: too many requests on their way"};
    ended_.push(transfer);
    return;
  }
  if (in_flight_ == 0) client_.expect();
  *slot = {.endpoint = this, .transfer = &transfer};
  ++in_flight_;
  if (!client_.alive()) {
    ended(*slot, nbd_failure(ENOTCONN, transfer.at.value, name_of(transfer.kind)));
    return;
  }
  if (submit(*slot) == -1 && slot->transfer != nullptr) {
    ended(*slot,
          nbd_failure(client_.library().get_errno(), transfer.at.value, name_of(transfer.kind)));
  }
}

Transfer* NbdEndpoint::reap() noexcept {
  if (!ended_.empty()) return ended_.pop();
  if (in_flight_ == 0) return nullptr;
  client_.pump();
  if (ended_.empty() && (!client_.alive() || client_.stalled())) give_up();
  return ended_.pop();
}

// After this libnbd touches no buffer any more.
void NbdEndpoint::give_up() noexcept {
  const int code = client_.alive() ? ETIMEDOUT : ENOTCONN;
  client_.drop();
  for (Pending& pending : pending_) {
    if (pending.transfer == nullptr) continue;
    ended(pending, nbd_failure(code, pending.transfer->at.value, name_of(pending.transfer->kind)));
  }
}

Readiness NbdEndpoint::readiness() const noexcept {
  if (in_flight_ == 0 || !ended_.empty()) return {};
  return client_.readiness();
}

void NbdEndpoint::note_run(std::uint64_t length, bool zero) noexcept {
  known_.end += length;
  if (!known_.runs.empty() && known_.runs.back().zero == zero) {
    known_.runs.back().length += length;
  } else {
    known_.runs.push_back({.length = length, .zero = zero});
  }
}

int NbdEndpoint::status_extents(void* endpoint, const char* context, std::uint64_t offset,
                                std::uint32_t* entries, std::size_t count, int*) {
  auto& self = *static_cast<NbdEndpoint*>(endpoint);
  if (std::string_view{context} != LIBNBD_CONTEXT_BASE_ALLOCATION) return 0;
  if (offset != self.known_.end) {
    self.known_.failed = true;
    return 0;
  }
  for (std::size_t i = 0; i + 1 < count && self.known_.runs.size() < kMostRuns; i += 2) {
    // The last extent may reach past what was asked, never past the export.
    const std::uint64_t length =
        std::min<std::uint64_t>(entries[i], self.traits_.size - self.known_.end);
    if (length == 0) break;
    // A hole alone may read as anything: only the zero bit says what it reads as.
    self.note_run(length, (entries[i + 1] & LIBNBD_STATE_ZERO) != 0);
  }
  return 0;
}

int NbdEndpoint::status_done(void* endpoint, int* error) {
  auto& self = *static_cast<NbdEndpoint*>(endpoint);
  self.known_.failed = self.known_.failed || *error != 0;
  self.known_.done = true;
  return 1;
}

bool NbdEndpoint::ask_status(std::uint64_t at) noexcept {
  const std::uint64_t first = align_down(at, traits_.alignment);
  known_.runs.clear();
  known_.at = known_.end = first;
  known_.done = known_.failed = false;
  const std::uint64_t length = std::min(kStatusBytes, traits_.size - first);
  const std::int64_t cookie = client_.library().aio_block_status(
      client_.handle(), length, first,
      {.callback = status_extents, .user_data = this, .free = nullptr},
      {.callback = status_done, .user_data = this, .free = nullptr}, 0);
  if (cookie == -1) return false;
  if (!client_.wait_for(known_.done)) {
    give_up();
    return false;
  }
  return !known_.failed && known_.end > at;
}

Result<EndpointRun> NbdEndpoint::map(VirtualOffset at, std::uint64_t length) noexcept {
  if (!range_fits(at.value, length, traits_.size)) {
    return Error{.code = Errc::out_of_range, .what = "NBD: map beyond the end of the export"};
  }
  const bool inside = at.value >= known_.at && at.value < known_.end;
  if (!inside && asks_status_ && client_.alive() && !ask_status(at.value)) asks_status_ = false;
  if (!client_.alive()) return nbd_failure(ENOTCONN, at.value, "NBD: block status");
  if (!asks_status_) return EndpointRun{.length = length};
  std::uint64_t begin = known_.at;
  for (const EndpointRun& run : known_.runs) {
    const std::uint64_t end = begin + run.length;
    if (at.value < end) return EndpointRun{std::min(length, end - at.value), run.zero};
    begin = end;
  }
  return EndpointRun{.length = length};
}

bool NbdEndpoint::all_zero() noexcept {
  std::uint64_t at = 0;
  for (std::uint32_t i = 0; i < kMostAnswers && at < traits_.size; ++i) {
    const auto run = map({at}, traits_.size - at);
    if (!run || !run->zero) return false;
    at += run->length;
  }
  return at == traits_.size;
}

Status NbdEndpoint::finish() noexcept {
  if (use_.write && client_.about().flush) {
    bool done = false;
    int code = 0;
    struct Outcome {
      bool* done;
      int* code;
    } outcome{&done, &code};
    const auto flushed = [](void* user, int* error) {
      auto& result = *static_cast<Outcome*>(user);
      *result.code = *error;
      *result.done = true;
      return 1;
    };
    if (!client_.alive()) return nbd_failure(ENOTCONN, 0, "NBD: flush");
    if (client_.library().aio_flush(client_.handle(),
                                    {.callback = flushed, .user_data = &outcome, .free = nullptr},
                                    0) == -1) {
      return nbd_failure(client_.library().get_errno(), 0, "NBD: flush");
    }
    if (const Status waited = client_.wait_for(done); !waited) {
      client_.drop();  // the callback must not find this frame gone
      return waited;
    }
    if (code != 0) return nbd_failure(code, 0, "NBD: flush");
  }
  client_.disconnect();
  return Ok{};
}

}  // namespace openvhd
