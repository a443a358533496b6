#include "devices/virtio_scsi.hpp"

#include <algorithm>
#include <cstring>

#include "base/stored.hpp"

namespace openvhd::vmm {
namespace {

using scsi::ScsiRequest;

constexpr unsigned kControl = 0, kEvents = 1, kRequests = 2;
constexpr unsigned kHotplug = 1, kChange = 2;  // features

struct RequestHeader {
  std::array<std::uint8_t, 8> lun;
  Le64 tag;
  std::uint8_t attribute, priority, crn;
};
static_assert(OnDisk<RequestHeader, 19>);

struct ResponseHeader {
  Le32 sense_bytes;
  Le32 residual;
  Le16 qualifier;
  std::uint8_t status, code;
};
static_assert(OnDisk<ResponseHeader, 12>);
constexpr std::uint8_t kOk = 0, kOverrun = 1, kBadTarget = 3, kIncorrectLun = 12;

struct ControlRequest {
  Le32 type;  // 0 task management, 1 and 2 notifications
  Le32 subtype;
  std::array<std::uint8_t, 8> lun;
  Le64 tag;
};
static_assert(OnDisk<ControlRequest, 24>);
constexpr std::uint8_t kSucceeded = 10, kRejected = 11;
enum Task : std::uint8_t {
  abort_task,
  abort_set,
  clear_aca,
  clear_set,
  nexus_reset,
  unit_reset,
  query_task,
  query_set
};

struct Event {
  Le32 event;
  std::array<std::uint8_t, 8> lun;
  Le32 reason;
};
static_assert(OnDisk<Event, 16>);
constexpr std::uint32_t kEventsMissed = 0x8000'0000, kParameterChange = 3;

// 5.6.6.1: 1, target, unit in flat or peripheral form. Empty: no unit of ours.
std::optional<std::uint16_t> unit_of(const std::array<std::uint8_t, 8>& lun) noexcept {
  if (lun[0] != 1 || lun[1] != 0 || lun[4] != 0 || lun[5] != 0 || lun[6] != 0 || lun[7] != 0)
    return {};
  return static_cast<std::uint16_t>((lun[2] << 8 | lun[3]) & 0x3fff);
}

// Copies bytes out of the front of a list; returns how many there were.
std::size_t copy_front(std::span<const iovec> list, std::span<std::byte> into) noexcept {
  std::size_t done = 0;
  for (const auto& piece : list) {
    const auto some = std::min(piece.iov_len, into.size() - done);
    if (some > 0) std::memcpy(into.data() + done, piece.iov_base, some);
    done += some;
  }
  return done;
}

void copy_to(std::span<const iovec> list, std::span<const std::byte> from) noexcept {
  for (const auto& piece : list) {
    const auto some = std::min(piece.iov_len, from.size());
    if (some > 0) std::memcpy(piece.iov_base, from.data(), some);
    from = from.subspan(some);
  }
}

// The list without its first `bytes`, which it holds; the piece that they end in is shortened, and
// what was in front goes to `front` when there is one.
std::span<iovec> behind(std::span<iovec> list, std::size_t bytes, std::vector<iovec>* front) {
  while (bytes > 0) {
    auto& piece = list.front();
    const auto some = std::min(bytes, piece.iov_len);
    if (front != nullptr) front->push_back({.iov_base = piece.iov_base, .iov_len = some});
    bytes -= some;
    piece.iov_base = static_cast<std::byte*>(piece.iov_base) + some;
    piece.iov_len -= some;
    if (piece.iov_len == 0) list = list.subspan(1);
  }
  return list;
}

std::uint64_t total(std::span<const iovec> list) noexcept {
  std::uint64_t bytes = 0;
  for (const auto& piece : list) bytes += piece.iov_len;
  return bytes;
}

}  // namespace

struct VirtioScsi::Management {
  std::uint32_t task;
  std::uint16_t lun;
  std::uint64_t tag;
};

VirtioScsi::VirtioScsi(const VirtioParts& parts, scsi::ScsiTarget& target)
    : VirtioPci{kVirtioScsi, parts, 1ULL << kHotplug | 1ULL << kChange},
      target_{&target},
      port_{target} {
  slots_.reserve(kMostCommands);
}

// As the standard lists them: request queues, pieces of a command, blocks of 512, commands of a
// unit, bytes of an event, of sense, of a CDB; channels, targets, units.
std::uint32_t VirtioScsi::read_config(std::uint64_t offset) const noexcept {
  switch (offset) {
    case 0:
      return 1;
    case 4:
      return VirtioRing::kMostSize - 2;
    case 8:
      return 0xffff;
    case 12:
      return 128;
    case 16:
      return sizeof(Event);
    case 20:
      return sense_bytes_;
    case 24:
      return cdb_bytes_;
    case 28:
      return 0;
    case 32:
      return target_->last();
    default:
      return 0;
  }
}

void VirtioScsi::write_config(std::uint64_t offset, std::uint32_t width,
                              std::uint32_t value) noexcept {
  if (width != 4) return;
  if (offset == 20 && value <= 252) sense_bytes_ = value;
  if (offset == 24 && value > 0 && value <= ScsiRequest::kMostCommandBytes) cdb_bytes_ = value;
}

bool VirtioScsi::reset_begins() noexcept {
  sense_bytes_ = 96;
  cdb_bytes_ = 32;
  waits_ = event_missed_ = false;
  return under_way_ == 0;
}

void VirtioScsi::release(Slot& slot) noexcept {
  slot.busy = false;
  slot.next = free_;
  free_ = &slot;
  --under_way_;
}

// False: the driver's buffer is no command.
bool VirtioScsi::read_command(Slot& slot) noexcept {
  auto& chain = slot.chain;
  std::array<std::byte, sizeof(RequestHeader) + ScsiRequest::kMostCommandBytes> raw{};
  const std::size_t head = sizeof(RequestHeader) + cdb_bytes_;
  const std::size_t tail = sizeof(ResponseHeader) + sense_bytes_;
  if (copy_front(chain.readable, std::span{raw}.first(head)) < head) return false;
  if (total(chain.writable) < tail) return false;
  slot.out = behind(chain.readable, head, nullptr);
  slot.response.clear();
  slot.in = behind(chain.writable, tail, &slot.response);
  const auto header = load<RequestHeader>(raw);
  slot.guest_tag = header.tag;
  slot.cdb = {};
  std::memcpy(slot.cdb.data(), raw.data() + sizeof header, cdb_bytes_);
  slot.asked = total(slot.in) + total(slot.out);
  slot.lun = unit_of(header.lun).value_or(0xffff);
  return true;
}

void VirtioScsi::answer(Slot& slot, std::uint8_t code) noexcept {
  std::array<std::byte, sizeof(ResponseHeader) + ScsiRequest::kSenseBytes> raw{};
  ResponseHeader header{};
  const auto sense = code == kOk ? std::min<std::uint32_t>(slot.sense_bytes, sense_bytes_) : 0;
  header.sense_bytes = sense;
  header.residual = static_cast<std::uint32_t>(slot.asked - std::min(slot.moved, slot.asked));
  header.status = static_cast<std::uint8_t>(slot.status);
  header.code = code;
  store(std::span<std::byte>{raw}, header);
  std::memcpy(raw.data() + sizeof header, slot.sense.data(), sense);
  copy_to(slot.response, std::span{raw}.first(sizeof header + sense));
  const auto data = slot.in.empty() ? 0 : slot.moved;
  const auto written = sizeof header + sense_bytes_ + data;
  if (!ring(kRequests).give(slot.chain.head, static_cast<std::uint32_t>(written))) broken();
}

void VirtioScsi::ended(ScsiRequest& request) noexcept {
  auto& slot = static_cast<Slot&>(request);
  auto& self = *slot.owner;
  // After a reset nothing is said any more; after a broken rule it could not be heard.
  if (!self.resetting() && self.serving()) self.answer(slot, slot.overrun ? kOverrun : kOk);
  self.release(slot);
  if (self.resetting()) {
    if (self.under_way_ == 0) self.reset_ended();
    return;
  }
  if (self.waits_ && self.serving() &&
      !self.is_under_way(self.waits_lun_, self.waits_for_tag_ ? &self.waits_tag_ : nullptr)) {
    self.waits_ = false;
    self.end_control({});
  }
}

// True: a command was taken.
bool VirtioScsi::start_command() noexcept {
  if (free_ == nullptr) {
    if (slots_.size() == kMostCommands) return false;
    slots_.push_back(std::make_unique<Slot>());
    slots_.back()->owner = this;
    slots_.back()->done = ended;
    free_ = slots_.back().get();
  }
  Slot& slot = *free_;
  const auto taken = ring(kRequests).take(slot.chain);
  if (taken == VirtioRing::Taken::none) return false;
  if (taken == VirtioRing::Taken::broken || !read_command(slot)) {
    broken();
    return false;
  }
  free_ = slot.next;
  slot.busy = true;
  ++under_way_;
  if (slot.lun == 0xffff) {
    slot.status = scsi::ScsiStatus::good;
    slot.moved = 0;
    answer(slot, kBadTarget);
    release(slot);
    return true;
  }
  port_.execute(slot);
  return true;
}

bool VirtioScsi::is_under_way(std::uint16_t lun, const std::uint64_t* tag) const noexcept {
  return std::ranges::any_of(slots_, [&](const auto& slot) {
    return slot->busy && slot->lun == lun && (tag == nullptr || slot->guest_tag == *tag);
  });
}

// The answer to what control_ asks: `bytes`, or that a task was managed.
void VirtioScsi::end_control(std::span<const std::byte> bytes) noexcept {
  static constexpr std::array kManaged = {std::byte{kOk}};
  if (bytes.empty()) bytes = kManaged;
  copy_to(control_.writable, bytes);
  if (!ring(kControl).give(control_.head, static_cast<std::uint32_t>(bytes.size()))) broken();
}

void VirtioScsi::manage(const Management& what) noexcept {
  const auto reply = [&](std::uint8_t code) { end_control(std::array{std::byte{code}}); };
  const bool one = what.task == abort_task || what.task == query_task;
  const bool there = is_under_way(what.lun, one ? &what.tag : nullptr);
  switch (what.task) {
    case query_task:
    case query_set:
      return reply(there ? kSucceeded : kOk);
    case abort_task:
    case abort_set:
    case clear_set:
      break;
    case nexus_reset:
      target_->reset();
      break;
    case unit_reset:
      if (auto* unit = target_->unit(what.lun)) unit->raise_attention(scsi::kResetOccurred);
      break;
    default:
      return reply(kRejected);
  }
  if (!there) return reply(kOk);
  waits_ = true;
  waits_lun_ = what.lun;
  waits_tag_ = what.tag;
  waits_for_tag_ = one;
}

// One request of the control queue; nothing while task management waits. True: one was taken.
bool VirtioScsi::serve_control() noexcept {
  if (waits_ || !ring(kControl).running()) return false;
  const auto taken = ring(kControl).take(control_);
  if (taken == VirtioRing::Taken::none) return false;
  std::array<std::byte, sizeof(ControlRequest)> raw{};
  const auto bytes = copy_front(control_.readable, raw);
  const auto request = load<ControlRequest>(raw);
  if (taken == VirtioRing::Taken::broken || bytes < 4 || total(control_.writable) == 0) {
    broken();
    return false;
  }
  if (request.type != 0) {
    // Notifications: none of what was asked for is reported. Four bytes of events, then a code.
    end_control(std::array<std::byte, 5>{});
    return true;
  }
  const auto lun = unit_of(request.lun);
  if (bytes < raw.size() || !lun || target_->unit(*lun) == nullptr)
    end_control(std::array{std::byte{lun ? kIncorrectLun : kBadTarget}});
  else
    manage({.task = request.subtype, .lun = *lun, .tag = request.tag});
  return true;
}

bool VirtioScsi::serve() noexcept {
  if (!serving() || resetting()) return false;
  bool more = false;
  for (const unsigned queue : {kControl, kRequests}) {
    if (!ring(queue).running()) continue;
    // A driver that adds as fast as this takes must not keep the lock for ever.
    unsigned left = VirtioRing::kMostSize;
    while (left > 0 && serving() && (queue == kControl ? serve_control() : start_command())) --left;
    const bool can_take = queue == kControl ? !waits_ : under_way_ < kMostCommands;
    if (serving() && (left == 0 || (can_take && ring(queue).ask_notification()))) more = true;
  }
  for (const unsigned queue : {kControl, kEvents, kRequests})
    if (serving()) signal(queue);
  return more && serving();
}

void VirtioScsi::send_event(std::uint16_t lun, std::uint32_t event, std::uint32_t reason) noexcept {
  if (!serving() || resetting() || !ring(kEvents).running()) return;
  VirtioChain chain;
  const auto taken = ring(kEvents).take(chain);
  if (taken == VirtioRing::Taken::none) {
    event_missed_ = true;
    return;
  }
  if (taken == VirtioRing::Taken::broken) return broken();
  if (event_missed_) event |= kEventsMissed;
  event_missed_ = false;
  Event out{};
  out.event = event;
  out.lun = {1, 0, static_cast<std::uint8_t>(0x40 | lun >> 8), static_cast<std::uint8_t>(lun)};
  out.reason = reason;
  std::array<std::byte, sizeof out> raw{};
  store(std::span<std::byte>{raw}, out);
  copy_to(chain.writable, raw);
  if (!ring(kEvents).give(chain.head, sizeof out)) return broken();
  signal(kEvents);
}

void VirtioScsi::unit_changed(std::uint16_t lun) noexcept {
  const std::lock_guard held{lock()};
  constexpr auto kSense = scsi::kCapacityChanged;
  if (has_feature(kChange))
    send_event(lun, kParameterChange, kSense.code | std::uint32_t{kSense.qualifier} << 8);
}

}  // namespace openvhd::vmm
