/* Prints what programs that were compiled earlier rely on: sizes, places of members, numbers. */
#include <openvhd/openvhd.h>
#include <stddef.h>
#include <stdio.h>

#define SIZE(type) printf("%s %u\n", #type, (unsigned)sizeof(type))
#define PLACE(type, member)                                                 \
  printf("%s.%s %u %u\n", #type, #member, (unsigned)offsetof(type, member), \
         (unsigned)sizeof(((type*)0)->member))
#define NUMBER(name) printf("%s %d\n", #name, (int)name)

int main(void) {
#include "layout_entries.h"
  return 0;
}
