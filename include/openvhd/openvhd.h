/** @file
 * The C interface of libopenvhd, for C99 and for everything that speaks C.
 *
 * Conventions that hold for every function:
 *  - Sizes, lengths and offsets are bytes. Texts are UTF-8 and end with a zero byte.
 *  - An `int` result is 0, or a negative errno number; ovhd_reason() and ovhd_message() then tell
 *    more about it, in the thread that called. Nothing is thrown, nothing is printed.
 *  - What a function takes is borrowed for the call, where nothing else is said.
 *  - A structure begins with `struct_size`, which its ..._init() function or the caller sets to the
 *    size that the caller was compiled with: later versions add members at the end, which are then
 *    left alone. A size that is below that of the first version is -EINVAL.
 *  - A handle may be used by any number of threads at once, but for the call that frees it. Handles
 *    do not survive fork(), with one exception at ovhd_open().
 *
 * Errors and their numbers: ENOENT (a file, parent or export that was named is not there), EACCES
 * (a policy forbids it), EBUSY (another process holds the image, or a bound was reached), EUCLEAN
 * (the image breaks a rule of its format), ENOTSUP, EINVAL (arguments that contradict each other,
 * parts of sectors), ERANGE (beyond the end of the disk), EROFS (opened for reading), ENOSPC
 * (nothing was changed), ESTALE (another writer changed the image; a parent that does not belong to
 * its child), EIO (also: an earlier failure poisoned the image, reopen it), ECANCELED, ENOMEM, and
 * whatever else the host said.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Errors --------------------------------------------------------------------------------- */

/** Why a call failed: few reasons to branch on, finer than errno numbers. */
typedef enum ovhd_error_reason {
  OVHD_NO_ERROR = 0,       /**< The call did what it was asked. */
  OVHD_IO = 1,             /**< The host failed a call; the errno number says how. */
  OVHD_CORRUPT = 2,        /**< The image breaks a rule of its format. */
  OVHD_UNSUPPORTED = 3,    /**< Well formed, but something that this library does not do. */
  OVHD_OUT_OF_RANGE = 4,   /**< Beyond the end of the disk, or a number that no limit admits. */
  OVHD_MISALIGNED = 5,     /**< No multiple of the logical sector size. */
  OVHD_READ_ONLY_DISK = 6, /**< A change was asked of an image opened for reading. */
  OVHD_BUSY = 7,           /**< Locked by another process, or a bound was reached. */
  OVHD_NO_SPACE = 8,       /**< The host file system is full; nothing was changed. */
  OVHD_NOT_FOUND = 9,      /**< A file, parent or export that was named is not there. */
  OVHD_DENIED = 10,        /**< A policy forbids it: parent paths, owners, links, kinds of file. */
  OVHD_MISMATCH = 11,      /**< Two files that should belong together do not. */
  OVHD_POISONED = 12,      /**< An earlier sync or metadata write failed: reopen the image. */
  OVHD_FENCED = 13,        /**< Another writer changed the image under us. */
  OVHD_INVALID = 14,       /**< The arguments contradict each other. */
  OVHD_CANCELLED = 15      /**< Stopped on request. */
} ovhd_error_reason;

/** The reason of the last call of this thread that failed. Calls that succeed leave it. */
ovhd_error_reason ovhd_reason(void);

/** One line about the last call of this thread that failed: "FILE: OFFSET: structure and rule".
 * Control characters in names are escaped. Never null; valid until this thread's next failure. */
const char* ovhd_message(void);

/** A short name: "corrupt", "no-space"; "unknown" for a number that is no reason. Thread: any. */
const char* ovhd_reason_name(ovhd_error_reason reason);

/** The version of the library that runs: "0.1.0". Thread: any. */
const char* ovhd_version(void);

/* ---- Disks ---------------------------------------------------------------------------------- */

/** Formats of images. */
typedef enum ovhd_format {
  OVHD_FORMAT_ANY = 0, /**< Options: from the content, or for a new file from its name. */
  OVHD_FORMAT_RAW = 1, /**< Bytes of the disk and nothing else; never guessed. */
  OVHD_FORMAT_VHD = 2, /**< VHD. */
  OVHD_FORMAT_VHDX = 3 /**< VHDX. */
} ovhd_format;

/** Types of images. */
typedef enum ovhd_type {
  OVHD_TYPE_FIXED = 0,       /**< All of the disk is in the file. */
  OVHD_TYPE_DYNAMIC = 1,     /**< Blocks are allocated when they are first written. */
  OVHD_TYPE_DIFFERENCING = 2 /**< A child: what it does not hold, its parent answers. */
} ovhd_type;

/** How an image is opened. */
typedef enum ovhd_access {
  OVHD_READ_ONLY = 0,  /**< Shared lock; never writes, a dirty log is replayed in memory. */
  OVHD_READ_WRITE = 1, /**< Exclusive lock; a dirty log is replayed into the file. */
  OVHD_INSPECT = 2     /**< No lock, never writes. */
} ovhd_access;

/** How transfers are made. */
typedef enum ovhd_driver {
  OVHD_DRIVER_ANY = 0,      /**< io_uring where the kernel allows it, else blocking. */
  OVHD_DRIVER_BLOCKING = 1, /**< pread and pwrite. */
  OVHD_DRIVER_IO_URING = 2  /**< Opening fails where it is forbidden. */
} ovhd_driver;

/** Which parents a differencing image may pull in: docs/parents.md has the rules. */
typedef struct ovhd_parent_policy {
  int32_t open_parents; /**< 1 by default. 0: ranges that a parent would answer fail to read. */
  int32_t cross_device; /**< 1: a parent may be on another mount than its child. */
  uint32_t max_depth;   /**< Most files in a chain, the leaf included; 64 by default. */
  uint32_t chain_count; /**< Of `chain`. */
  /** The parents themselves, nearest first. When given, locators are verified, never followed. */
  const char* const* chain;
  /** As many as `chain`: OVHD_FORMAT_RAW for a raw parent, else OVHD_FORMAT_ANY. May be null. */
  const ovhd_format* chain_formats;
  const char* const* dirs; /**< Directories, beside the child's own, where parents may lie. */
  uint32_t dir_count;      /**< Of `dirs`. */
  uint32_t owner_count;    /**< Of `owners`. */
  /** User ids, beside the child's own and root, to whom a parent may belong. */
  const uint32_t* owners;
} ovhd_parent_policy;

/** Options of ovhd_open(). */
typedef struct ovhd_open_options {
  size_t struct_size;         /**< Set by ovhd_open_options_init(). */
  ovhd_access access;         /**< OVHD_READ_ONLY by default. */
  ovhd_format format;         /**< OVHD_FORMAT_ANY by default. */
  ovhd_driver driver;         /**< OVHD_DRIVER_ANY by default. */
  int32_t direct;             /**< 1: aligned transfers avoid the page cache where they can. */
  ovhd_parent_policy parents; /**< See there. */
} ovhd_open_options;

/** Fills in the defaults. `struct_size` is sizeof(ovhd_open_options) as the caller knows it. */
void ovhd_open_options_init(ovhd_open_options* options, size_t struct_size);

/** An open disk: one image, or a chain of them. */
typedef struct ovhd_disk ovhd_disk;

/** Opens the image at `path` and, for a differencing one, its parents. `options` may be null: the
 * defaults. On success `*disk` is a handle for ovhd_close(), on failure null, and nothing was
 * written. No thread runs before the first read or change: until then a process may fork, leave the
 * parent with _exit() and go on in the child. Errors: ENOENT, EACCES, EBUSY (locked), EUCLEAN,
 * ENOTSUP, ESTALE (parent and child do not belong together), EIO. */
int ovhd_open(const char* path, const ovhd_open_options* options, ovhd_disk** disk);

/** Flushes, empties the log, releases locks and frees the handle, also when it fails; null does
 * nothing. Only -EBUSY (queues are open) leaves it as it was. No other call on `disk` is under way.
 * Errors: EIO and others when what was written before is not all durable. */
int ovhd_close(ovhd_disk* disk);

/** The shape of a disk. */
typedef struct ovhd_geometry {
  size_t struct_size;            /**< The caller's sizeof. */
  uint64_t virtual_size;         /**< A multiple of the logical sector size. */
  uint64_t block_size;           /**< The unit of allocation; 0 for raw and for fixed VHD. */
  uint32_t logical_sector_size;  /**< 512 or 4096. */
  uint32_t physical_sector_size; /**< 512 or 4096. */
  ovhd_format format;            /**< Of the leaf. */
  ovhd_type type;                /**< Of the leaf. */
  int32_t writable;              /**< 1: opened for writing. */
  uint32_t layers;               /**< Files in the chain, 1 at least. */
} ovhd_geometry;

/** Fills in `*geometry`, whose struct_size the caller has set. Errors: EINVAL. */
int ovhd_get_geometry(const ovhd_disk* disk, ovhd_geometry* geometry);

/** The size of the disk. */
uint64_t ovhd_size(const ovhd_disk* disk);

/** The path of a file of the chain, 0 the leaf; null beyond the last. Valid as long as `disk`. */
const char* ovhd_layer_path(const ovhd_disk* disk, uint32_t layer);

/** State of the log of a VHDX when it was opened. */
typedef enum ovhd_log_state {
  OVHD_LOG_NONE = 0,  /**< The format has no log. */
  OVHD_LOG_CLEAN = 1, /**< Empty. */
  OVHD_LOG_DIRTY = 2  /**< Had entries: replayed, into the file or in memory. */
} ovhd_log_state;

/** One file of a chain. Ids are 36 characters, empty where there is none. */
typedef struct ovhd_layer {
  size_t struct_size;            /**< The caller's sizeof. */
  uint64_t virtual_size;         /**< Of this layer's disk. */
  uint64_t block_size;           /**< 0 where there are no blocks. */
  uint64_t file_size;            /**< Length of the file. */
  uint64_t allocated_bytes;      /**< What it takes on the host. */
  uint64_t replayed_entries;     /**< Of the log, by this open. */
  ovhd_format format;            /**< Of this file. */
  ovhd_type type;                /**< Of this file. */
  ovhd_log_state log;            /**< See there. */
  uint32_t logical_sector_size;  /**< 512 or 4096. */
  uint32_t physical_sector_size; /**< 512 or 4096. */
  char identifier[40];           /**< VHDX: page 83 id; VHD: unique id. */
  char data_write_guid[40];      /**< VHDX: changes when the disk's content does. */
  char parent_linkage[40];       /**< Of a differencing image: what its parent must be. */
} ovhd_layer;

/** Fills in `*info`, whose struct_size the caller has set, about file `layer`, 0 the leaf. Errors:
 * ERANGE (no such layer), EINVAL, EIO. */
int ovhd_get_layer(ovhd_disk* disk, uint32_t layer, ovhd_layer* info);

/** Flags of calls that change a disk. */
typedef enum ovhd_flags {
  OVHD_DURABLE = 1 /**< On stable storage when it returns 0, whatever else is not. */
} ovhd_flags;

/** Reads `length` bytes at `offset` of the disk into `into`, all or an error. Any alignment.
 * Errors: ERANGE (nothing was read), EIO, EUCLEAN. */
int ovhd_read(ovhd_disk* disk, void* into, size_t length, uint64_t offset);

/** Writes `length` bytes from `from` at `offset`. Any alignment; after an error each sector of the
 * range is as it was or as asked. `flags`: 0 or OVHD_DURABLE. Errors: ERANGE and EROFS (nothing was
 * done), ENOSPC (nothing was allocated), EIO, EUCLEAN. */
int ovhd_write(ovhd_disk* disk, const void* from, size_t length, uint64_t offset, uint32_t flags);

/** The range reads as zeros; blocks that it covers whole give their space back. Otherwise as
 * ovhd_write(). */
int ovhd_zero(ovhd_disk* disk, uint64_t offset, uint64_t length, uint32_t flags);

/** The range is no longer needed and reads as zeros; its space goes back to the host. Otherwise as
 * ovhd_write(). */
int ovhd_trim(ovhd_disk* disk, uint64_t offset, uint64_t length, uint32_t flags);

/** What completed before, on any thread, survives a power cut. Errors: EROFS, EIO. */
int ovhd_flush(ovhd_disk* disk);

/** What holds a range of the disk. */
typedef enum ovhd_extent_kind {
  OVHD_EXTENT_DATA = 0, /**< Stored, at `host_offset` of file `layer`. */
  OVHD_EXTENT_ZERO = 1, /**< Zeros by the metadata of file `layer`. */
  OVHD_EXTENT_HOLE = 2  /**< Nobody stores it: reads as zeros. */
} ovhd_extent_kind;

/** A range of the disk that one answer covers. */
typedef struct ovhd_extent {
  uint64_t offset;       /**< Where it begins, in the disk. */
  uint64_t length;       /**< 1 sector at least. */
  uint64_t host_offset;  /**< For data: where it is in the file. */
  ovhd_extent_kind kind; /**< See there. */
  uint32_t layer;        /**< For data and zero: which file. */
} ovhd_extent;

/** What holds the bytes from `offset`: one extent, as long as one answer reaches, at most `length`.
 * Both are whole sectors, `length` is not 0. Errors: EINVAL, ERANGE, EIO, EUCLEAN. */
int ovhd_map(ovhd_disk* disk, uint64_t offset, uint64_t length, ovhd_extent* extent);

/* ---- Queues --------------------------------------------------------------------------------- */

/** One thread's door to a disk, for many requests at once. Every call belongs to the thread that
 * opened the queue. At most 16 queues on a disk are certain to be had. */
typedef struct ovhd_queue ovhd_queue;

/** Runs once for each request that was accepted, in the queue's thread, from ovhd_queue_poll(),
 * ovhd_queue_wait() or ovhd_queue_close(). `result` is 0 or a negative errno number, about which
 * ovhd_message() tells more. It may submit further requests. */
typedef void (*ovhd_done)(void* context, int result);

/** Opens a queue for `depth` requests at once, 1 to 1024. Errors: EINVAL, EBUSY (too many queues),
 * ENOTSUP, EIO. */
int ovhd_queue_open(ovhd_disk* disk, uint32_t depth, ovhd_queue** queue);

/** Waits for what is under way and frees the queue; null does nothing. */
void ovhd_queue_close(ovhd_queue* queue);

/** Starts a read of whole sectors, below 2 GiB. Never blocks. 0: `done` runs exactly once; the list
 * `buffers` is copied where it has one entry, otherwise it stays the caller's, as what it names
 * does, until then. An error (EINVAL, ERANGE, EBUSY at the queue's depth): `done` never runs. */
int ovhd_queue_read(ovhd_queue* queue, const struct iovec* buffers, size_t count, uint64_t offset,
                    ovhd_done done, void* context);

/** As ovhd_queue_read(), a write. `flags`: 0 or OVHD_DURABLE. Errors also: EROFS. */
int ovhd_queue_write(ovhd_queue* queue, const struct iovec* buffers, size_t count, uint64_t offset,
                     uint32_t flags, ovhd_done done, void* context);

/** Starts ovhd_zero() of whole sectors. Otherwise as ovhd_queue_write(). */
int ovhd_queue_zero(ovhd_queue* queue, uint64_t offset, uint64_t length, uint32_t flags,
                    ovhd_done done, void* context);

/** Starts ovhd_trim() of whole sectors. Otherwise as ovhd_queue_write(). */
int ovhd_queue_trim(ovhd_queue* queue, uint64_t offset, uint64_t length, uint32_t flags,
                    ovhd_done done, void* context);

/** Starts ovhd_flush(): what completed before, on any queue, is durable when `done` runs. */
int ovhd_queue_flush(ovhd_queue* queue, ovhd_done done, void* context);

/** Submits what was started and runs `done` for what has finished. For how many it ran. */
uint32_t ovhd_queue_poll(ovhd_queue* queue);

/** The same, but waits until at least one has finished. 0: nothing is under way. */
uint32_t ovhd_queue_wait(ovhd_queue* queue);

/** A descriptor that becomes readable when ovhd_queue_poll() may have more to do, provided that it
 * has been called since. Valid as long as the queue. Negative where there is none left. */
int ovhd_queue_descriptor(ovhd_queue* queue);

/* ---- Whole images --------------------------------------------------------------------------- */

/** Told how far work is: `done` of `total` bytes, often, from the thread that called. 0: go on;
 * anything else stops at the next safe point with -ECANCELED. */
typedef int (*ovhd_progress)(void* context, uint64_t done, uint64_t total);

/** Options of ovhd_create(), and of the target of ovhd_convert(). */
typedef struct ovhd_create_options {
  size_t struct_size;           /**< Set by ovhd_create_options_init(). */
  ovhd_format format;           /**< OVHD_FORMAT_ANY: from the name; raw has to be named. */
  ovhd_type type;               /**< OVHD_TYPE_DYNAMIC by default; set for a parent, too. */
  uint64_t virtual_size;        /**< Exact. 0 with a parent: the parent's; copying: the source's. */
  uint64_t block_size;          /**< 0: the format's default. */
  uint32_t logical_sector_size; /**< 512 or 4096; 0: 512, or the parent's. */
  uint32_t physical_sector_size; /**< 512 or 4096; 0: the format's default, or the parent's. */
  uint64_t log_size;             /**< VHDX: a multiple of 1 MiB; 0: 1 MiB. */
  const char* parent;            /**< For a differencing image: its parent. Null otherwise. */
  ovhd_parent_policy parents;    /**< For the parent's own parents. */
  int32_t azure;                 /**< 1: a fixed VHD whose size is a multiple of 1 MiB. */
  int32_t no_sparse;             /**< 1: fixed images get written extents. */
  int32_t overwrite;             /**< 1: an existing file is replaced. */
} ovhd_create_options;

/** Fills in the defaults. `struct_size` is sizeof(ovhd_create_options) as the caller knows it. */
void ovhd_create_options_init(ovhd_create_options* options, size_t struct_size);

/** Makes an image, durable with its directory entry when this returns 0; on failure the new file is
 * removed and an existing one is as it was. Errors: EINVAL, EEXIST, EBUSY, ENOSPC, EIO, and those
 * of ovhd_open() for the parent. */
int ovhd_create(const char* path, const ovhd_create_options* options);

/** Options of ovhd_convert(). */
typedef struct ovhd_convert_options {
  size_t struct_size;                /**< Set by ovhd_convert_options_init(). */
  const char* source;                /**< A file or an NBD URI. */
  ovhd_format source_format;         /**< OVHD_FORMAT_ANY: from the content. */
  ovhd_parent_policy source_parents; /**< For a chain. */
  const char* target;                /**< A file or an NBD URI (raw). */
  const ovhd_create_options* create; /**< Of the target; null: the defaults. */
  uint64_t offset;                   /**< Copies from here on. */
  uint64_t length;                   /**< Copies this much; UINT64_MAX, the default: to the end. */
  int32_t reflink;                   /**< 1 by default: extents are shared where they can be. */
  int32_t direct;                    /**< 1 by default: bypasses the page cache where it can. */
  ovhd_progress progress;            /**< May be null. */
  void* progress_context;            /**< For `progress`. */
} ovhd_convert_options;

/** Fills in the defaults. `struct_size` is sizeof(ovhd_convert_options) as the caller knows it. */
void ovhd_convert_options_init(ovhd_convert_options* options, size_t struct_size);

/** What ovhd_convert() did. */
typedef struct ovhd_convert_result {
  size_t struct_size;     /**< The caller's sizeof. */
  uint64_t virtual_size;  /**< Of the target. */
  uint64_t copied_bytes;  /**< Read and written. */
  uint64_t cloned_bytes;  /**< Shared with the source, not moved. */
  uint64_t skipped_bytes; /**< Not stored, or zero by the source's metadata. */
  uint64_t zero_bytes;    /**< Read, found zero and not written. */
} ovhd_convert_result;

/** Copies a disk, whole chains flattened, into a new image, which is durable when this returns 0;
 * on failure a file that it created is removed. `result` may be null; its struct_size is set.
 * Errors: EINVAL, and those of ovhd_open(), ovhd_create(), reading and writing; ECANCELED. */
int ovhd_convert(const ovhd_convert_options* options, ovhd_convert_result* result);

/** How much a finding matters. */
typedef enum ovhd_severity {
  OVHD_NOTE = 0,    /**< Allowed, worth knowing. */
  OVHD_WARNING = 1, /**< Breaks a rule that readers tolerate, or wastes space. */
  OVHD_ERROR = 2    /**< Breaks a rule: data is lost or at risk. */
} ovhd_severity;

/** Options of ovhd_check(). */
typedef struct ovhd_check_options {
  size_t struct_size;         /**< Set by ovhd_check_options_init(). */
  int32_t chain;              /**< 1: also the parents, and the links between. */
  int32_t azure;              /**< 1: also what Azure demands of an upload. */
  ovhd_parent_policy parents; /**< For a chain. */
  ovhd_progress progress;     /**< May be null. */
  void* progress_context;     /**< For `progress`. */
} ovhd_check_options;

/** Fills in the defaults. `struct_size` is sizeof(ovhd_check_options) as the caller knows it. */
void ovhd_check_options_init(ovhd_check_options* options, size_t struct_size);

/** One thing that ovhd_check() found. Texts are valid as long as the report. */
typedef struct ovhd_finding {
  const char* file;       /**< The file that it is in. */
  const char* id;         /**< The invariant: "X07", "V04". */
  const char* text;       /**< The structure and the rule, one line. */
  uint64_t offset;        /**< Where, in the file. */
  ovhd_severity severity; /**< See there. */
  int32_t repairable;     /**< 1: can be mended without losing data. */
} ovhd_finding;

/** What ovhd_check() found. */
typedef struct ovhd_report ovhd_report;

/** Reads every structure of the image at `path` and judges it; never writes. An image that cannot
 * be opened is a report with errors. `options` may be null: the defaults. On success `*report` is
 * for ovhd_report_free(), on failure null. Errors: ENOENT, EACCES, EBUSY, EIO, ECANCELED. */
int ovhd_check(const char* path, const ovhd_check_options* options, ovhd_report** report);

/** How many findings a report has. */
size_t ovhd_report_count(const ovhd_report* report);

/** Finding number `index`, from 0. Errors: ERANGE. */
int ovhd_report_finding(const ovhd_report* report, size_t index, ovhd_finding* finding);

/** The greatest severity; OVHD_NOTE for a report with no finding. */
ovhd_severity ovhd_report_worst(const ovhd_report* report);

/** Frees a report; null does nothing. */
void ovhd_report_free(ovhd_report* report);

/* ---- Checkpoints ---------------------------------------------------------------------------- */

/** The checkpoints of a disk: what it can go back to. */
typedef struct ovhd_checkpoints ovhd_checkpoints;

/** One checkpoint. Texts are valid as long as the ovhd_checkpoints that they come from. */
typedef struct ovhd_checkpoint {
  const char* id;       /**< A GUID, given once. */
  const char* name;     /**< What people call it. */
  const char* file;     /**< The image that holds the state; it does not change any more. */
  const char* parent;   /**< The id of the checkpoint before it; null: there is none. */
  int64_t created_unix; /**< Seconds since 1970, UTC. */
  int32_t hidden;       /**< 1: deleted; it goes when one state is left over it. */
} ovhd_checkpoint;

/** Tells the checkpoints of a disk. `image` is any image of the disk: the one that it began with, a
 * checkpoint's, or the current one; so it is for the calls below, each of which puts the
 * checkpoints as they are then into `*checkpoints`, for ovhd_checkpoints_free(), unless
 * `checkpoints` is null. On failure `*checkpoints` is null. An image that somebody has open is
 * busy. Errors: ENOENT (the image, the checkpoint), EBUSY, EUCLEAN, EACCES (others are children of
 * these images), ENOSPC, EIO, and those of ovhd_open(). */
int ovhd_checkpoint_list(const char* image, ovhd_checkpoints** checkpoints);

/** Keeps the state of now under `name`; null: a name with the time. The current image becomes the
 * checkpoint's, and a new one beside it is the disk: ovhd_checkpoints_current(). Errors also:
 * EINVAL (name). */
int ovhd_checkpoint_create(const char* image, const char* name, ovhd_checkpoints** checkpoints);

/** Goes back to the state of a checkpoint, named by its name or id. The state of now becomes a
 * checkpoint of its own; `discard` 1: it is given up. */
int ovhd_checkpoint_apply(const char* image, const char* which, int32_t discard,
                          ovhd_checkpoints** checkpoints);

/** Gives up the state of a checkpoint, named by its name or id; all others stay, and what its image
 * holds of them is merged. `progress` may be null. Errors also: ECANCELED; a later call goes on. */
int ovhd_checkpoint_delete(const char* image, const char* which, ovhd_progress progress,
                           void* progress_context, ovhd_checkpoints** checkpoints);

/** Gives a checkpoint, named by its name or id, another name. Errors also: EINVAL (name). */
int ovhd_checkpoint_rename(const char* image, const char* which, const char* name,
                           ovhd_checkpoints** checkpoints);

/** The image that is the disk now: the one to be opened. */
const char* ovhd_checkpoints_current(const ovhd_checkpoints* checkpoints);

/** The id of the checkpoint that the disk goes on from; null: there is none. */
const char* ovhd_checkpoints_current_parent(const ovhd_checkpoints* checkpoints);

/** How many checkpoints there are. */
size_t ovhd_checkpoints_count(const ovhd_checkpoints* checkpoints);

/** Checkpoint number `index`, from 0; parents come before their children. Errors: ERANGE. */
int ovhd_checkpoints_get(const ovhd_checkpoints* checkpoints, size_t index,
                         ovhd_checkpoint* checkpoint);

/** Frees checkpoints; null does nothing. */
void ovhd_checkpoints_free(ovhd_checkpoints* checkpoints);

#ifdef __cplusplus
}
#endif
