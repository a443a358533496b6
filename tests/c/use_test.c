/* The C interface as a program in C99 uses it; use_as_cpp_test.cpp is the same in C++. Works in the
 * current folder. */
#include <errno.h>
#include <openvhd/openvhd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kMiB = 1 << 20, kDepth = 4 };

static void check(int good, const char* what, int line) {
  if (good) return;
  fprintf(stderr, "use_test.c:%d: %s\n  last failure: %s\n", line, what, ovhd_message());
  exit(1);
}
#define CHECK(x) check((x) ? 1 : 0, #x, __LINE__)

static char bytes[kMiB];
static char back[kMiB];

static int all_are(const char* from, size_t length, char value) {
  size_t i;
  for (i = 0; i < length; ++i) {
    if (from[i] != value) return 0;
  }
  return 1;
}

static void make(const char* path, const char* parent) {
  ovhd_create_options options;
  ovhd_create_options_init(&options, sizeof options);
  options.overwrite = 1;
  options.parent = parent;
  if (parent == NULL) {
    options.virtual_size = 64 * (uint64_t)kMiB;
    options.block_size = 2 * (uint64_t)kMiB;
  }
  CHECK(ovhd_create(path, &options) == 0);
}

static ovhd_disk* open_disk(const char* path, ovhd_access access) {
  ovhd_open_options options;
  ovhd_disk* disk = NULL;
  ovhd_open_options_init(&options, sizeof options);
  options.access = access;
  CHECK(ovhd_open(path, &options, &disk) == 0);
  return disk;
}

static void use_calls(void) {
  ovhd_geometry geometry;
  ovhd_extent extent;
  ovhd_disk* disk;
  make("base.vhdx", NULL);
  disk = open_disk("base.vhdx", OVHD_READ_WRITE);
  geometry.struct_size = sizeof geometry;
  CHECK(ovhd_get_geometry(disk, &geometry) == 0);
  CHECK(geometry.virtual_size == ovhd_size(disk) && ovhd_size(disk) == 64 * (uint64_t)kMiB);
  CHECK(geometry.block_size == 2 * (uint64_t)kMiB && geometry.logical_sector_size == 512);
  CHECK(geometry.format == OVHD_FORMAT_VHDX && geometry.type == OVHD_TYPE_DYNAMIC);
  CHECK(geometry.writable == 1 && geometry.layers == 1);
  memset(bytes, 'x', sizeof bytes);
  CHECK(ovhd_write(disk, bytes, sizeof bytes, 4 * (uint64_t)kMiB + 5, 0) == 0);
  CHECK(ovhd_write(disk, "durable", 7, 8, OVHD_DURABLE) == 0);
  CHECK(ovhd_zero(disk, 4 * (uint64_t)kMiB + 100, 1000, 0) == 0);
  CHECK(ovhd_trim(disk, 5 * (uint64_t)kMiB - 512, 512, OVHD_DURABLE) == 0);
  CHECK(ovhd_flush(disk) == 0);
  CHECK(ovhd_read(disk, back, sizeof back, 4 * (uint64_t)kMiB) == 0);
  CHECK(all_are(back, 5, 0) && all_are(back + 5, 95, 'x') && all_are(back + 100, 1000, 0));
  CHECK(all_are(back + 1100, kMiB - 512 - 1100, 'x') && all_are(back + kMiB - 512, 512, 0));
  CHECK(ovhd_map(disk, 32 * (uint64_t)kMiB, 32 * (uint64_t)kMiB, &extent) == 0);
  CHECK(extent.kind == OVHD_EXTENT_HOLE && extent.offset == 32 * (uint64_t)kMiB);
  CHECK(ovhd_map(disk, 4 * (uint64_t)kMiB, 512, &extent) == 0);
  CHECK(extent.kind == OVHD_EXTENT_DATA && extent.layer == 0 && extent.length == 512);
  CHECK(ovhd_close(disk) == 0);
  CHECK(ovhd_close(NULL) == 0);
}

static void use_a_chain(void) {
  ovhd_layer layer;
  ovhd_disk* disk;
  make("child.vhdx", "base.vhdx");
  disk = open_disk("child.vhdx", OVHD_READ_WRITE);
  CHECK(ovhd_read(disk, back, 7, 8) == 0 && memcmp(back, "durable", 7) == 0);
  CHECK(ovhd_write(disk, "changed", 7, 8, 0) == 0);
  CHECK(ovhd_read(disk, back, 7, 8) == 0 && memcmp(back, "changed", 7) == 0);
  CHECK(strcmp(ovhd_layer_path(disk, 0), "child.vhdx") == 0);
  CHECK(strstr(ovhd_layer_path(disk, 1), "base.vhdx") != NULL);
  CHECK(ovhd_layer_path(disk, 2) == NULL);
  memset(&layer, 0, sizeof layer);
  layer.struct_size = sizeof layer;
  CHECK(ovhd_get_layer(disk, 0, &layer) == 0);
  CHECK(layer.type == OVHD_TYPE_DIFFERENCING && strlen(layer.parent_linkage) == 36);
  CHECK(ovhd_get_layer(disk, 1, &layer) == 0);
  CHECK(layer.type == OVHD_TYPE_DYNAMIC && layer.file_size > 0 && layer.log == OVHD_LOG_CLEAN);
  CHECK(ovhd_get_layer(disk, 2, &layer) == -ERANGE && ovhd_reason() == OVHD_OUT_OF_RANGE);
  CHECK(ovhd_close(disk) == 0);
}

typedef struct outcome {
  int runs;
  int result;
} outcome;

static void done(void* context, int result) {
  outcome* const into = (outcome*)context;
  ++into->runs;
  into->result = result;
}

static void use_queues(void) {
  ovhd_disk* const disk = open_disk("base.vhdx", OVHD_READ_WRITE);
  ovhd_queue* queue = NULL;
  outcome outcomes[kDepth + 1];
  struct iovec one;
  struct iovec two[2];
  int i;
  memset(outcomes, 0, sizeof outcomes);
  memset(bytes, 'q', sizeof bytes);
  CHECK(ovhd_queue_open(disk, kDepth, &queue) == 0);
  CHECK(ovhd_close(disk) == -EBUSY);
  CHECK(ovhd_queue_descriptor(queue) >= 0);
  for (i = 0; i < kDepth; ++i) {
    one.iov_base = bytes;
    one.iov_len = 4096;
    CHECK(ovhd_queue_write(queue, &one, 1, (uint64_t)i * 4096, 0, done, &outcomes[i]) == 0);
  }
  one.iov_len = 4096;
  CHECK(ovhd_queue_read(queue, &one, 1, 0, done, &outcomes[kDepth]) == -EBUSY);
  while (ovhd_queue_wait(queue) != 0) {
  }
  for (i = 0; i < kDepth; ++i) CHECK(outcomes[i].runs == 1 && outcomes[i].result == 0);
  CHECK(outcomes[kDepth].runs == 0);
  two[0].iov_base = back;
  two[0].iov_len = 512;
  two[1].iov_base = back + 4096;
  two[1].iov_len = 1024;
  CHECK(ovhd_queue_read(queue, two, 2, 512, done, &outcomes[kDepth]) == 0);
  CHECK(ovhd_queue_trim(queue, 8192, 4096, OVHD_DURABLE, done, &outcomes[0]) == 0);
  CHECK(ovhd_queue_zero(queue, 12288, 512, 0, done, &outcomes[1]) == 0);
  while (ovhd_queue_wait(queue) != 0) {
  }
  CHECK(ovhd_queue_flush(queue, done, &outcomes[2]) == 0);
  ovhd_queue_poll(queue);
  CHECK(ovhd_queue_read(queue, two, 2, 1, done, NULL) == -EINVAL);
  CHECK(ovhd_reason() == OVHD_MISALIGNED && strstr(ovhd_message(), "base.vhdx: ") != NULL);
  CHECK(ovhd_queue_read(queue, two, 2, 64 * (uint64_t)kMiB, done, NULL) == -ERANGE);
  ovhd_queue_close(queue); /* waits for the flush */
  CHECK(outcomes[kDepth].runs == 1 && all_are(back, 512, 'q') && all_are(back + 4096, 1024, 'q'));
  CHECK(outcomes[0].runs == 2 && outcomes[1].runs == 2 && outcomes[2].runs == 2);
  CHECK(outcomes[0].result == 0 && outcomes[1].result == 0 && outcomes[2].result == 0);
  CHECK(ovhd_read(disk, back, 16384, 0) == 0);
  CHECK(all_are(back, 8192, 'q') && all_are(back + 8192, 4096 + 512, 0));
  CHECK(all_are(back + 12800, 3584, 'q'));
  CHECK(ovhd_close(disk) == 0);
}

typedef struct count {
  int calls;
  int stop;
} count;

static int progress(void* context, uint64_t at, uint64_t total) {
  count* const into = (count*)context;
  ++into->calls;
  CHECK(at <= total);
  return into->stop;
}

static void use_convert_and_check(void) {
  ovhd_convert_options options;
  ovhd_convert_result result;
  ovhd_create_options create;
  ovhd_check_options judge;
  ovhd_report* report = NULL;
  ovhd_finding finding;
  count calls = {0, 0};
  ovhd_create_options_init(&create, sizeof create);
  create.overwrite = 1;
  create.type = OVHD_TYPE_DYNAMIC;
  ovhd_convert_options_init(&options, sizeof options);
  options.source = "child.vhdx";
  options.target = "flat.vhd";
  options.create = &create;
  options.progress = progress;
  options.progress_context = &calls;
  result.struct_size = sizeof result;
  CHECK(ovhd_convert(&options, &result) == 0);
  CHECK(calls.calls > 0 && result.virtual_size == 64 * (uint64_t)kMiB && result.copied_bytes > 0);
  calls.stop = 1;
  options.target = "stopped.vhd";
  CHECK(ovhd_convert(&options, NULL) == -ECANCELED && ovhd_reason() == OVHD_CANCELLED);
  CHECK(ovhd_check("flat.vhd", NULL, &report) == 0);
  CHECK(ovhd_report_worst(report) == OVHD_NOTE);
  CHECK(ovhd_report_finding(report, ovhd_report_count(report), &finding) == -ERANGE);
  ovhd_report_free(report);
  ovhd_check_options_init(&judge, sizeof judge);
  judge.azure = 1;
  CHECK(ovhd_check("flat.vhd", &judge, &report) == 0);
  CHECK(ovhd_report_worst(report) == OVHD_ERROR && ovhd_report_count(report) > 0);
  CHECK(ovhd_report_finding(report, 0, &finding) == 0);
  CHECK(strcmp(finding.file, "flat.vhd") == 0 && strlen(finding.id) > 0 &&
        strlen(finding.text) > 0);
  ovhd_report_free(report);
  ovhd_report_free(NULL);
}

int main(void) {
  CHECK(ovhd_reason() == OVHD_NO_ERROR && strcmp(ovhd_message(), "") == 0);
  CHECK(strlen(ovhd_version()) > 0);
  use_calls();
  use_a_chain();
  use_queues();
  /* The base has changed since: its child no longer belongs to it. */
  make("child.vhdx", "base.vhdx");
  use_convert_and_check();
  puts("all calls did what the header says");
  return 0;
}
