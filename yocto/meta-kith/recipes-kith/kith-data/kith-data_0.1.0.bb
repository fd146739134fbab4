SUMMARY = "Encrypted credentials on a device whose root is read only"
DESCRIPTION = "Lets systemd find the credentials that it encrypted for this device on the data partition."
HOMEPAGE = "https://kith.example/"
BUGTRACKER = "https://kith.example/issues"
SECTION = "base"
CVE_PRODUCT = "kith"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

SRC_URI = "file://kith-data.conf"
S = "${UNPACKDIR}"

inherit allarch

do_install() {
    install -d ${D}${nonarch_libdir}/tmpfiles.d
    install -m 0644 ${S}/kith-data.conf ${D}${nonarch_libdir}/tmpfiles.d/
}

FILES:${PN} += "${nonarch_libdir}/tmpfiles.d"
