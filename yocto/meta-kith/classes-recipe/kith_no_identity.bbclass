# An image goes onto many devices: none may bring an identity, or the key to one, along.
ROOTFS_POSTPROCESS_COMMAND += "kith_refuse_identity"

kith_refuse_identity[doc] = "Ends the build of an image that holds an identity"
kith_refuse_identity() {
    sh ${THISDIR}/../../scripts/refuse-identity.sh ${IMAGE_ROOTFS} || bbfatal "this image holds an identity"
}
