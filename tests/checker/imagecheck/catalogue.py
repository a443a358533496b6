"""The invariants by id, and how far files alone let them be judged."""

FULL = "judged from the file"
PAIR = "judged with --before OLD"
CHAIN = "judged with the chain"
NOT = "not judged here"

# id: (rule, how it is judged, remark)
INVARIANTS = {
    "X01": ("header section and file identifier", FULL, ""),
    "X02": ("header copies, current header", FULL, ""),
    "X03": ("versions and place of the log", FULL, ""),
    "X04": ("sequence number has a successor", FULL, ""),
    "X05": ("region tables", FULL, ""),
    "X06": ("each region in itself", FULL, ""),
    "X07": ("all structures and blocks pairwise disjoint", FULL, ""),
    "X08": ("metadata table", FULL, ""),
    "X09": ("required metadata items", FULL, ""),
    "X10": ("block, sector and disk size", FULL, ""),
    "X11": ("derived counts fit the BAT region", FULL, ""),
    "X12": ("BAT states and reserved bits", FULL, ""),
    "X13": ("block offsets and soft anchors", FULL, ""),
    "X14": ("no two entries share file space", FULL, ""),
    "X15": ("sector bitmap blocks", FULL, ""),
    "X16": ("fixed: every block present", FULL,
            "a warning: QEMU writes fixed files whose blocks are ZERO"),
    "X17": ("parent locator", FULL, ""),
    "X18": ("file size", FULL, "the 1 MiB rule is a warning: a crash may leave any size"),
    "X19": ("FileWriteGuid and DataWriteGuid change when they must", PAIR,
            "needs the file as it was before"),
    "L01": ("LogGuid set means an active sequence", FULL, ""),
    "L02": ("log entry header and checksum", FULL,
            "an error where nothing can be replayed, a note where the entry is a torn tail"),
    "L03": ("active sequence", FULL, "as L02"),
    "L04": ("descriptors and data sectors", FULL, "as L02"),
    "L05": ("targets of the log", FULL, ""),
    "L06": ("FlushedFileOffset and LastFileOffset", FULL, ""),
    "L07": ("replay gives one result", PAIR, "the file after someone's replay is compared with "
            "this checker's replay of the file before; the order of writes leaves no trace"),
    "L08": ("the log is cleared after its targets are durable", PAIR,
            "seen as a cleared log whose targets were not applied"),
    "L09": ("no reuse of space before its release is durable", NOT,
            "a violation shows as X07/X14 or as wrong contents after a crash: crash-state tests"),
    "L10": ("after replay every X rule holds", FULL, ""),
    "V01": ("footer", FULL, ""),
    "V02": ("footer copy and dynamic header", FULL, ""),
    "V03": ("block size and table", FULL, ""),
    "V04": ("block places", FULL, ""),
    "V05": ("block bitmaps", FULL, ""),
    "V06": ("parent locators and parent id", CHAIN, "the id needs the parent"),
    "V07": ("geometry", FULL, "flagged by a warning"),
    "V08": ("growth order", FULL, "a legal intermediate state is a warning, a state that the "
            "order cannot leave is an error; the order itself: crash-state tests"),
    "C01": ("linkage, sector size, disk sizes", CHAIN, ""),
    "C02": ("acyclic, bounded depth", CHAIN, ""),
    "C03": ("parents are not opened writable", NOT, "a matter of locks while files are open"),
    "C04": ("snapshot commit point", NOT, "crash-state tests; each state is checked here"),
    "C05": ("merge keeps the contents", NOT,
            "compare --sparse-digest of the chain before and after"),
    "C06": ("revert and delete keep reachable files", NOT, "needs all chains of a folder"),
    "C07": ("shrink does not cut data", PAIR, "data beyond the new size"),
}


def listing():
    """Lines for --list."""
    for rule, (title, how, remark) in INVARIANTS.items():
        yield "%s  %-55s %s%s" % (rule, title, how, "; " + remark if remark else "")
