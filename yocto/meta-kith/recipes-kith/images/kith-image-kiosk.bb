SUMMARY = "A device with the Kith messenger and its screen"
DESCRIPTION = "Read-only root, writable data partition; the first start makes the identity. The browser is yours to add."

require kith-image.inc

IMAGE_INSTALL:append = " packagegroup-kith-kiosk"
