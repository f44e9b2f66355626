/** Driver of the physical function on the host. */
export const PF_DRIVER = 'octeon_ep'

/** Driver of the virtual functions on the host. */
export const VF_DRIVER = 'octeon_ep_vf'

/** Largest MTU that a virtual function carries, in bytes: its driver has 10 000 with the header and checksum of the frame. */
export const VF_MAX_MTU = 9982
