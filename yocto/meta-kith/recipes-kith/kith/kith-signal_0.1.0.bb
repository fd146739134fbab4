SUMMARY = "The signaling server of the Kith messenger"
DESCRIPTION = "It introduces Kith devices to each other and never learns what they say. It runs once it is configured."
SECTION = "net"

# A server is built for speed.
KITH_PROFILE = "release"

require kith.inc

inherit systemd

SYSTEMD_SERVICE:${PN} = "kith-signal.service"
SYSTEMD_AUTO_ENABLE:${PN} = "disable"

do_install:append() {
    install -d ${D}${systemd_system_unitdir} ${D}${docdir}/kith-signal
    install -m 0644 ${S}/systemd/system/kith-signal.service ${D}${systemd_system_unitdir}/
    install -m 0644 ${S}/systemd/system/kith-signal.socket ${D}${systemd_system_unitdir}/
    install -m 0644 ${S}/signal-server/kith-signal.example.toml ${D}${docdir}/kith-signal/
    install -m 0644 ${S}/systemd/coturn/turnserver.conf ${D}${docdir}/kith-signal/
}

FILES:${PN} += "${systemd_system_unitdir}/kith-signal.socket"

RDEPENDS:${PN} += "ca-certificates"
