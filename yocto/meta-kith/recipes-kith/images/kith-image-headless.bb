SUMMARY = "A device with the Kith messenger and no screen"
DESCRIPTION = "Read-only root, writable data partition; the first start makes the identity."

require kith-image.inc
