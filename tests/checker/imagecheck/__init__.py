"""Independent checker and reader of VHD and VHDX images (see ../README.md)."""
