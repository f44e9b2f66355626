import type { VfAdminSetting } from './vf-admin.ts'

/** Identity of a VF: the function number `index` of the device (PF) `device`, as the hardware backend names it. */
export interface VfId {
  /** Name of the device (card, PF) that the function belongs to, stable over reboots. */
  readonly device: string
  /** Number of the function on the device, from 0. */
  readonly index: number
}

/** A VfId as one text, `device/index`. */
export function formatVfId(vf: VfId): string {
  return `${vf.device}/${vf.index}`
}

/**
 * The id by which a device plugin advertises a VF and a runtime asks for it (`deviceID`): its PCI address, or `device/index`
 * where it has none.
 */
export function vfDeviceId(vf: Pick<VirtualFunction, 'id' | 'pciAddress'>): string {
  return vf.pciAddress ?? formatVfId(vf.id)
}

/** Stands for a MAC address that nobody knows. */
export const UNKNOWN_MAC: string = '00:00:00:00:00:00'

/** Health of a VF as its backend sees it. */
export type VfHealth = 'healthy' | 'unhealthy'

/** What a VF can do, probed and not assumed. */
export interface VfCapabilities {
  /** Whether the MAC can be changed from the host and sticks. */
  readonly setMac: boolean
  /** Largest MTU that the function carries, in bytes. */
  readonly maxMtu: number
  /**
   * What the physical function can really make of it: each was set, read back and set back on a VF that nobody used. Absent if nothing, or
   * if that could not be tried yet.
   */
  readonly admin?: readonly VfAdminSetting[]
}

/** A host-side PCIe virtual function. */
export interface VirtualFunction {
  /** Identity. */
  readonly id: VfId
  /** PCI address `dddd:bb:dd.f`, absent where the function is not a PCI device. */
  readonly pciAddress?: string
  /** PCI address of the physical function that it belongs to, where it has one. */
  readonly pfPciAddress?: string
  /** Name of its netdev while it is in the host's network namespace; absent while it is in a pod. */
  readonly netdev?: string
  /**
   * Driver that leaves it to a program, DPDK for one, while it has such a one: `vfio-pci`, `uio_pci_generic` or `igb_uio`. It has no netdev
   * then, wherever it is used, and is as healthy as any. It is leased only to attachments that name it.
   */
  readonly userspace?: string
  /**
   * MAC address in its pristine state, lower case with colons. {@link UNKNOWN_MAC} of a VF that is with a userspace driver, if nobody has
   * seen it otherwise and its physical function does not know it.
   */
  readonly mac: string
  /** NUMA node, where the hardware knows it. */
  readonly numaNode?: number
  /** Whether it may be leased. */
  readonly health: VfHealth
  /** What it can do. */
  readonly capabilities: VfCapabilities
}

/** What a VF should be set to before it is given to a pod. Absent fields are left as they are. */
export interface VfSettings {
  /** MAC address, lower case with colons. */
  readonly mac?: string
  /** MTU in bytes. */
  readonly mtu?: number
}

/** A netdev of the host that is ready to be moved into a pod. */
export interface NetdevRef {
  /** Name in the host's network namespace. */
  readonly name: string
  /** MAC address read back after the settings were applied. */
  readonly mac: string
  /** MTU read back, in bytes. */
  readonly mtu: number
  /** Largest MTU that the function carries, in bytes, where the backend knows it. */
  readonly maxMtu?: number
}

/** The DPU-side netdev of a VF. */
export interface PortRef {
  /** The VF whose other end this is. */
  readonly vf: VfId
  /** Name of the netdev when it lies in the agent's own network namespace. */
  readonly name: string
  /**
   * Set by the agent where other adapters may attach the port, too. An adapter holds such a port from attach to detach only;
   * between them it lies in the agent's namespace under its name, down and connected to nothing.
   */
  readonly shared?: boolean
}
