/** PCI address of the card on the host. */
export const HOST_PF = '0000:01:00.0'
