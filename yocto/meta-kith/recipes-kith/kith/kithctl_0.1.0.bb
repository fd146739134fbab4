SUMMARY = "The Kith messenger on the command line"
DESCRIPTION = "It drives kithd over D-Bus: sets a device up, pairs it, sends, shows and keeps."
SECTION = "net"

require kith.inc

RDEPENDS:${PN} += "kithd"
