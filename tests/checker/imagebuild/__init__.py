"""Writers of small VHD and VHDX images for the checker's own tests.

They pack every structure by hand, so that each field can be wrong on purpose, and share with
the checker only its CRC-32C (which known vectors test).
"""
