SUMMARY = "The Kith messenger on a device"
DESCRIPTION = "The daemon and its command line; with -kiosk, its screen."
HOMEPAGE = "https://kith.example/"
BUGTRACKER = "https://kith.example/issues"
SECTION = "net"

inherit packagegroup

PACKAGES = "${PN} ${PN}-kiosk"

RDEPENDS:${PN} = "kithctl kithd"
RDEPENDS:${PN}-kiosk = "${PN} kith-kiosk"
