/** PCI vendor of all blocks of an OCTEON: Cavium, now Marvell. */
export const OCTEON_VENDOR = '177d'

/** Which side of the card's PCI link sees a function: the server that it is plugged into, or Linux on the card. */
export type Side = 'host' | 'dpu'

/** A PCI function of an OCTEON, by its id. */
export interface OcteonFunction {
  /** PCI device id, four hexadecimal digits, lower case. */
  readonly device: string
  /** Who sees it. */
  readonly side: Side
  /** Physical or virtual function. */
  readonly kind: 'pf' | 'vf'
  /** Hardware block: `SDP` is the packet interface between server and card, `CPT` the crypto engine, `PEM` the PCI link itself. */
  readonly block: string
  /** Driver that Linux has for it; undefined if it is used through vfio or not at all. `octeon_ep` of b600 and b603 only out of tree. */
  readonly driver: string | undefined
  /** Parts of the family that have it. */
  readonly parts: string
  /** Whether its driver makes a network interface. */
  readonly netdev: boolean
}

/**
 * All functions that Linux may see of the family. Functions are known by vendor and device only: class codes and bus numbers
 * change with the firmware.
 */
export const OCTEON_FUNCTIONS: readonly OcteonFunction[] = [
  { device: 'b100', side: 'host', kind: 'pf', block: 'SDP', driver: 'octeon_ep', parts: 'CN98xx', netdev: true },
  { device: 'b103', side: 'host', kind: 'vf', block: 'SDP', driver: 'octeon_ep_vf', parts: 'CN98xx', netdev: true },
  { device: 'b200', side: 'host', kind: 'pf', block: 'SDP', driver: 'octeon_ep', parts: 'CN93xx/CN96xx', netdev: true },
  { device: 'b203', side: 'host', kind: 'vf', block: 'SDP', driver: 'octeon_ep_vf', parts: 'CN93xx/CN96xx', netdev: true },
  { device: 'b400', side: 'host', kind: 'pf', block: 'SDP', driver: 'octeon_ep', parts: 'CNF95N', netdev: true },
  { device: 'b403', side: 'host', kind: 'vf', block: 'SDP', driver: 'octeon_ep_vf', parts: 'CNF95N', netdev: true },
  { device: 'b600', side: 'host', kind: 'pf', block: 'SDP', driver: 'octeon_ep', parts: 'CNF95O', netdev: true },
  { device: 'b603', side: 'host', kind: 'vf', block: 'SDP', driver: 'octeon_ep_vf', parts: 'CNF95O', netdev: true },
  { device: 'b900', side: 'host', kind: 'pf', block: 'SDP', driver: 'octeon_ep', parts: 'CN10KA (CN106xx)', netdev: true },
  { device: 'b903', side: 'host', kind: 'vf', block: 'SDP', driver: 'octeon_ep_vf', parts: 'CN10KA (CN106xx)', netdev: true },
  { device: 'ba00', side: 'host', kind: 'pf', block: 'SDP', driver: 'octeon_ep', parts: 'CNF10KA (CNF105xx)', netdev: true },
  { device: 'ba03', side: 'host', kind: 'vf', block: 'SDP', driver: 'octeon_ep_vf', parts: 'CNF10KA (CNF105xx)', netdev: true },
  { device: 'bc00', side: 'host', kind: 'pf', block: 'SDP', driver: 'octeon_ep', parts: 'CNF10KB (CNF105xxN)', netdev: true },
  { device: 'bc03', side: 'host', kind: 'vf', block: 'SDP', driver: 'octeon_ep_vf', parts: 'CNF10KB (CNF105xxN)', netdev: true },
  { device: 'bd00', side: 'host', kind: 'pf', block: 'SDP', driver: 'octeon_ep', parts: 'CN10KB (CN103xx)', netdev: true },
  { device: 'bd03', side: 'host', kind: 'vf', block: 'SDP', driver: 'octeon_ep_vf', parts: 'CN10KB (CN103xx)', netdev: true },
  { device: 'a0f6', side: 'dpu', kind: 'pf', block: 'SDP', driver: 'octeontx2-sdp', parts: 'CN9K+CN10K', netdev: false },
  { device: 'a0f7', side: 'dpu', kind: 'vf', block: 'SDP', driver: 'rvu_nicvf', parts: 'CN9K+CN10K', netdev: true },
  { device: 'a0ef', side: 'dpu', kind: 'pf', block: 'SDP-RVU', driver: undefined, parts: 'CN10K fw >= SDK12.25.03', netdev: false },
  { device: 'a06c', side: 'dpu', kind: 'pf', block: 'PEM', driver: undefined, parts: 'CN10K', netdev: false },
  { device: 'a080', side: 'dpu', kind: 'pf', block: 'DPI', driver: 'octeontx2-dpi', parts: 'CN9K+CN10K', netdev: false },
  { device: 'a081', side: 'dpu', kind: 'vf', block: 'DPI', driver: 'vfio-pci', parts: 'CN9K+CN10K', netdev: false },
  { device: 'a0f2', side: 'dpu', kind: 'pf', block: 'CPT', driver: 'rvu_cptpf', parts: 'CN10K', netdev: false },
  { device: 'a0f3', side: 'dpu', kind: 'vf', block: 'CPT', driver: 'rvu_cptvf', parts: 'CN10K', netdev: false },
  { device: 'a0fd', side: 'dpu', kind: 'pf', block: 'CPT', driver: 'rvu_cptpf', parts: 'CN9K', netdev: false },
  { device: 'a0fe', side: 'dpu', kind: 'vf', block: 'CPT', driver: 'rvu_cptvf', parts: 'CN9K', netdev: false },
  { device: 'a063', side: 'dpu', kind: 'pf', block: 'RVU', driver: 'rvu_nicpf', parts: 'CN9K+CN10K', netdev: true },
  { device: 'a064', side: 'dpu', kind: 'vf', block: 'RVU', driver: 'rvu_nicvf', parts: 'CN9K+CN10K', netdev: true },
  { device: 'a065', side: 'dpu', kind: 'pf', block: 'RVU-AF', driver: 'rvu_af', parts: 'CN9K+CN10K', netdev: false },
  { device: 'a0f8', side: 'dpu', kind: 'vf', block: 'LBK-VF', driver: 'rvu_nicvf', parts: 'CN9K+CN10K', netdev: true },
  { device: 'a0f9', side: 'dpu', kind: 'pf', block: 'SSO/TIM', driver: undefined, parts: '*', netdev: false },
  { device: 'a0fa', side: 'dpu', kind: 'vf', block: 'SSO/TIM', driver: undefined, parts: '*', netdev: false },
  { device: 'a0fb', side: 'dpu', kind: 'pf', block: 'NPA', driver: undefined, parts: '*', netdev: false },
  { device: 'a0fc', side: 'dpu', kind: 'vf', block: 'NPA', driver: undefined, parts: '*', netdev: false },
  { device: 'a0f0', side: 'dpu', kind: 'pf', block: 'NIX-INL', driver: undefined, parts: 'CN10K', netdev: false },
  { device: 'a0f1', side: 'dpu', kind: 'vf', block: 'NIX-INL', driver: undefined, parts: 'CN10K', netdev: false },
  { device: 'a0f4', side: 'dpu', kind: 'pf', block: 'REE', driver: undefined, parts: 'CN9K', netdev: false },
  { device: 'a0f5', side: 'dpu', kind: 'vf', block: 'REE', driver: undefined, parts: 'CN9K', netdev: false },
  { device: 'a0e0', side: 'dpu', kind: 'pf', block: 'ESWITCH', driver: undefined, parts: 'CN10K', netdev: false },
  { device: 'a0e1', side: 'dpu', kind: 'vf', block: 'ESWITCH', driver: undefined, parts: 'CN10K', netdev: false },
  { device: 'a0e2', side: 'dpu', kind: 'pf', block: 'ESWITCH-AUX', driver: undefined, parts: 'CN10K', netdev: false },
  { device: 'a059', side: 'dpu', kind: 'pf', block: 'CGX', driver: undefined, parts: 'CN9K', netdev: false },
  { device: 'a060', side: 'dpu', kind: 'pf', block: 'RPM', driver: 'Marvell-CGX/RPM', parts: 'CN10K', netdev: false },
  { device: 'a061', side: 'dpu', kind: 'pf', block: 'LBK', driver: undefined, parts: '*', netdev: false },
  { device: 'a092', side: 'dpu', kind: 'pf', block: 'ML', driver: undefined, parts: 'CN10K', netdev: false },
  { device: 'a098', side: 'dpu', kind: 'pf', block: 'RNM', driver: undefined, parts: '*', netdev: false },
]

const BY_DEVICE = new Map(OCTEON_FUNCTIONS.map((entry) => [entry.device, entry]))

/** What a function is by its ids, four hexadecimal digits each; undefined if it is none of an OCTEON, or none that is known. */
export function octeonFunction(vendor: string, device: string): OcteonFunction | undefined {
  return vendor === OCTEON_VENDOR ? BY_DEVICE.get(device) : undefined
}
