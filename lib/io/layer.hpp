/// What a format offers: a layer of a virtual disk. It translates ranges and keeps metadata; it
/// moves no payload, executes no command and owns no thread. Generic operations (read, write,
/// clear, flush: lib/image/ops) drive it, and drivers drive those.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <openvhd/disk_info.hpp>
#include <openvhd/error.hpp>
#include <optional>
#include <variant>

#include "io/io_command.hpp"

namespace openvhd {

class Readers;

/// The answer of a layer that must make progress. One of:
///  - T: done, here is the answer;
///  - IoCommand: execute this on the layer's file, pass the result to Layer::complete with
///    `command.token`, then ask again. Fields `layer` and `slot` are the caller's to set. Memory
///    behind `buffers` is the layer's and stays until then;
///  - Wait: another operation's command is on its way; ask again when anything has completed;
///  - Error: failed.
struct Wait {};
template <class T>
using Step = std::variant<T, IoCommand, Wait, Error>;

/// Where the first bytes of a range of the virtual disk are, in one layer.
struct Extent {
  enum class Kind : std::uint8_t {
    data,    ///< At `at` in the layer's file.
    zero,    ///< Zeros, and a parent is not asked.
    absent,  ///< Not here: the parent answers, or zeros where there is none.
  };
  Kind kind{};
  FileOffset at{};           ///< For data.
  std::uint64_t length = 0;  ///< Bytes, at least one sector and at most what was asked.
  /// Of find(), for data: the whole block that it begins in is data, in one piece.
  bool whole_block = false;
};

/// How long other threads may keep what find() said of whole blocks.
struct AnswerTerms {
  /// Moves on whenever a whole block is no longer where it was: after its table says so, and
  /// before the change is complete, or its space is asked for again. Who looks at this inside a
  /// transfer of Readers, and finds it as it was before the answer, may use the answer.
  std::atomic<std::uint64_t> moves{0};
  /// False as long as anything at all stands against writes that find_writable() would allow.
  std::atomic<bool> may_overwrite{false};
};

enum class ClearKind : std::uint8_t {
  zero,  ///< The range reads as zeros.
  trim,  ///< The same, and its space may go back to the host.
};

/// What clear() did about the first bytes of a range.
struct Cleared {
  std::uint64_t length = 0;  ///< Bytes that this answer covers.
  /// Set when the caller must make the host do it: execute `kind` (zero or punch) at `at` for
  /// `length` bytes, then call wrote(). Empty: the metadata says it all.
  struct OnHost {
    IoCommand::Kind kind{};
    FileOffset at{};
  };
  std::optional<OnHost> host{};
};

/// A flush or a close on its way; the layer's to fill. One per operation, starts zeroed.
struct FlushTicket {
  std::uint64_t target = 0;
  std::uint32_t stage = 0;
};

/// One operation on its way, from enter() to leave(): freed space is not used again while an
/// operation that could still touch it is in flight.
struct OperationTicket {
  OperationTicket* previous = nullptr;
  OperationTicket* next = nullptr;
  std::uint64_t serial = 0;
};

/// A layer. All calls belong to one thread at a time, its owner, but for those that say "any
/// thread". Offsets and lengths are multiples of the
/// logical sector size and lie inside the virtual disk: the caller has checked them. No call
/// blocks, allocates on a mapped path, or touches the file.
class Layer {
 public:
  Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;
  virtual ~Layer() = default;

  virtual const Geometry& geometry() const noexcept = 0;

  /// Where the first bytes of [at, at+length) are. Neighbouring blocks that lie together in the
  /// file may be answered as one extent.
  virtual Step<Extent> locate(VirtualOffset at, std::uint64_t length) noexcept = 0;

  /// Makes the first bytes of [at, at+length) writable: allocates what is not there. The answer
  /// is a data extent; its bytes in sectors that were never written read as they did before
  /// until wrote(). ENOSPC leaves everything as it was. Only on a layer opened for writing.
  virtual Step<Extent> place(VirtualOffset at, std::uint64_t length) noexcept = 0;

  /// The host has completed a write to `placed`, which place() gave for `at`: the sectors now
  /// hold data. May be called for a part of the extent.
  virtual void wrote(VirtualOffset at, const Extent& placed) noexcept = 0;

  /// Makes the first bytes of [at, at+length) read as zeros.
  virtual Step<Cleared> clear(VirtualOffset at, std::uint64_t length, ClearKind kind) noexcept = 0;

  /// Makes everything that completed before the first call durable (RELIABILITY D2): at most two
  /// syncs, however much it covers; calls at the same time share them. Done: it is.
  virtual Step<Ok> flush(FlushTicket& ticket) noexcept = 0;

  /// flush(), then leaves the file as a closed image: log empty, footer in place, size trimmed.
  /// Nothing else is in flight. Done at once on a layer that changed nothing.
  virtual Step<Ok> close(FlushTicket& ticket) noexcept = 0;

  /// The result of a command that this layer asked for.
  virtual void complete(std::uint64_t token, std::int32_t result) noexcept = 0;

  /// Brackets an operation that uses locate, place or clear. O(1), allocates nothing.
  virtual void enter(OperationTicket& ticket) noexcept = 0;
  virtual void leave(OperationTicket& ticket) noexcept = 0;

  // What follows has a default that always asks the owner.

  /// From now on other threads may call find(), find_writable(), overwritten() and settled(),
  /// each between begin() and end_look_up() of a slot of its own of `readers`; the transfers that
  /// follow end before end_transfer(). Until then memory and space that they may have seen stay
  /// what they were. Once, before the first such call.
  virtual void share(Readers&) noexcept {}

  /// locate(), as far as it can be answered from what is in memory, without changing anything.
  /// False: only the owner can tell. Any thread; no lock, no allocation.
  virtual bool find(VirtualOffset, std::uint64_t, Extent&) noexcept { return false; }

  /// The terms on which `whole_block` answers may be kept; null: they may not. Always the same, and
  /// there as long as anybody keeps them: who has not heard yet that the layer is gone still looks.
  virtual std::shared_ptr<const AnswerTerms> terms() const noexcept { return nullptr; }

  /// Nothing that find() has answered so far may be kept any longer: terms()->moves moves on.
  virtual void withdraw_answers() noexcept {}

  /// The same for a write that changes nothing but bytes of payload: place() would answer the
  /// same extent at once, and wrote() would only take note that a flush has something to do.
  /// False as long as anything at all stands against that. Any thread; no lock, no allocation.
  virtual bool find_writable(VirtualOffset, std::uint64_t, Extent&) noexcept { return false; }

  /// A write to what find_writable() gave has completed on the host: the next flush makes it
  /// durable. Any thread.
  virtual void overwritten() noexcept {}

  /// True when all that find_writable() has answered so far is mapped durably: a durable write to
  /// it survives a power cut without a flush. Any thread.
  virtual bool settled() const noexcept { return false; }
};

}  // namespace openvhd
