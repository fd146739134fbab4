SUMMARY = "Peer-to-peer, end-to-end encrypted messenger for devices"
DESCRIPTION = "The daemon: it holds a device's identity, its encrypted history and its connections, and serves them on D-Bus."
SECTION = "net"

require kith.inc

inherit systemd useradd

SYSTEMD_SERVICE:${PN} = "kithd.service"

USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system kith"
USERADD_PARAM:${PN} = "--system --gid kith --home-dir ${localstatedir}/lib/kith --no-create-home --shell /sbin/nologin kith"

do_install:append() {
    install -d ${D}${systemd_system_unitdir} ${D}${nonarch_libdir}/tmpfiles.d ${D}${sysconfdir}/kith
    install -m 0644 ${S}/systemd/system/kithd.service ${D}${systemd_system_unitdir}/
    install -m 0644 ${S}/systemd/tmpfiles.d/kith.conf ${D}${nonarch_libdir}/tmpfiles.d/
    install -m 0644 ${S}/daemon/kithd.toml ${D}${sysconfdir}/kith/
    install -d ${D}${datadir}/dbus-1/system.d ${D}${datadir}/dbus-1/system-services ${D}${datadir}/dbus-1/interfaces
    install -m 0644 ${S}/systemd/dbus-1/system.d/org.kith.Messenger1.conf ${D}${datadir}/dbus-1/system.d/
    install -m 0644 ${S}/systemd/dbus-1/system-services/org.kith.Messenger1.service ${D}${datadir}/dbus-1/system-services/
    install -m 0644 ${S}/daemon/dbus-api/xml/*.xml ${D}${datadir}/dbus-1/interfaces/
    install -d ${D}${datadir}/polkit-1/actions
    install -m 0644 ${S}/systemd/polkit-1/actions/org.kith.messenger1.policy ${D}${datadir}/polkit-1/actions/
}

FILES:${PN} += "${datadir}/dbus-1 ${datadir}/polkit-1 ${nonarch_libdir}/tmpfiles.d"

CONFFILES:${PN} = "${sysconfdir}/kith/kithd.toml"

RDEPENDS:${PN} += "ca-certificates dbus"
