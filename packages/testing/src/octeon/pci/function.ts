import type { Entry } from '../tree/entry.ts'
import type { PciDriver } from './driver.ts'

/** SR-IOV capability of a physical function. */
export interface SriovSpec {
  /** TotalVFs of its configuration space: what may be asked for, not what the firmware gives. */
  readonly total: number
  /** Routing id of the first function, counted from the physical one. */
  readonly offset: number
  /** Distance between functions. */
  readonly stride: number
  /** Device id of its functions. */
  readonly device: string
}

/** A function of a PCI bus as its configuration space tells it. */
export interface FunctionSpec {
  /** Domain, bus, device and function. */
  readonly address: string
  /** Where it hangs, below `/sys/devices`. */
  readonly parent: string
  /** Vendor id, four hexadecimal digits. */
  readonly vendor: string
  /** Device id. */
  readonly device: string
  /** Device id of the subsystem, whose vendor is `vendor`. */
  readonly subsystem: string
  /** Class, six digits. */
  readonly class: string
  /** Revision, two digits. */
  readonly revision: string
  /** Its SR-IOV capability. */
  readonly sriov?: SriovSpec
}

/** A function of a PCI bus, and what the kernel has done with it. */
export class PciFunction {
  readonly spec: FunctionSpec
  /** The physical function that a virtual one belongs to. */
  readonly pf: PciFunction | undefined
  /** Its number among the virtual functions; 0 of a physical one. */
  readonly index: number
  /** Driver that has it. */
  driver: PciDriver | undefined
  /** The only driver that may have it. */
  driverOverride: string | undefined
  /** Its IOMMU group. */
  iommuGroup: number | undefined
  /** Virtual functions that were asked for; they may not have appeared yet. */
  vfCount = 0
  /** Virtual functions that are there. */
  vfs: PciFunction[] = []
  /** Whether its virtual functions get a driver when they appear. */
  vfAutoprobe = true
  /** Whether its driver has registered a network interface, wherever that lies. */
  hasNetdev = false
  /** Whether it was given to a guest. */
  assigned = false
  /** Attributes that its driver adds. */
  attributes: Readonly<Record<string, Entry>> = {}

  constructor(spec: FunctionSpec, virtual?: { readonly pf: PciFunction; readonly index: number }) {
    this.spec = spec
    this.pf = virtual?.pf
    this.index = virtual?.index ?? 0
  }

  get address(): string {
    return this.spec.address
  }

  /** Vendor and device, `177d:b900`. */
  get id(): string {
    return `${this.spec.vendor}:${this.spec.device}`
  }

  /** Its folder. */
  get path(): string {
    return `/sys/devices/${this.spec.parent}/${this.spec.address}`
  }
}

/** The virtual function `index` of a physical one, as its SR-IOV capability makes it. */
export function virtualFunction(pf: PciFunction, sriov: SriovSpec, index: number): PciFunction {
  const { parent, vendor, subsystem, class: classCode, revision, address } = pf.spec
  const at = offsetAddress(address, sriov.offset + index * sriov.stride)
  return new PciFunction({ address: at, parent, vendor, device: sriov.device, subsystem, class: classCode, revision }, { pf, index })
}

function offsetAddress(address: string, distance: number): string {
  const [domain = '', bus = '', rest = ''] = address.split(':')
  const [device = '', fn = ''] = rest.split('.')
  const routingId = (Number.parseInt(bus, 16) << 8) + (Number.parseInt(device, 16) << 3) + Number(fn) + distance
  const hex = (value: number): string => value.toString(16).padStart(2, '0')
  return `${domain}:${hex(routingId >> 8)}:${hex((routingId >> 3) & 0x1f)}.${routingId & 7}`
}
