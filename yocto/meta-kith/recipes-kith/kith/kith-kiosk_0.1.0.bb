SUMMARY = "The screen of the Kith messenger"
DESCRIPTION = "A web page on a loopback address, in front of D-Bus, for a browser on the same device."
SECTION = "net"

require kith.inc

inherit systemd useradd

SYSTEMD_SERVICE:${PN} = "kith-kiosk.service"

USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system kith; --system kith-kiosk"
USERADD_PARAM:${PN} = "--system --gid kith-kiosk --groups kith --no-create-home --shell /sbin/nologin kith-kiosk"

do_install:append() {
    install -d ${D}${systemd_system_unitdir}
    install -m 0644 ${S}/systemd/system/kith-kiosk.service ${D}${systemd_system_unitdir}/
}

RDEPENDS:${PN} += "kithd"
