import type { FunctionSpec } from '../pci/function.ts'

/** Where a DPU's packet interfaces to the host hang: at the RVU admin function, or at a physical function of their own. */
export type DpuLayout = 'af' | 'sdp'

/** Firmware releases that a fake DPU can have. Which functions there are, and which the control agent is given, depends on it. */
export type DpuFirmware = '12.24.09' | '12.25.01' | '12.25.03'

/** Parts of the family that a fake card can be. */
export type OcteonPart = 'cn106xx' | 'cnf105xx' | 'cnf105xxn' | 'cn103xx'

/** First byte of a part's PCI device ids on the host, which is also that of subsystem ids on the DPU. */
export const PART_CODE: Readonly<Record<OcteonPart, string>> = { cn106xx: 'b9', cnf105xx: 'ba', cnf105xxn: 'bc', cn103xx: 'bd' }

/** Revision bytes: passes A0, A1 and B0. */
export type OcteonRevision = '50' | '51' | '54'

/** What decides which functions a DPU has. */
export interface DpuShape {
  readonly layout: DpuLayout
  readonly firmware: DpuFirmware
  readonly part: OcteonPart
  readonly revision: OcteonRevision
  /** Virtual functions of the host; the DPU has one more. */
  readonly vfs: number
}

/** Where the packet interfaces' parent is. */
export const SDP_PARENT: Readonly<Record<DpuLayout, string>> = { af: '0002:01:00.0', sdp: '0002:0f:00.0' }

/** Most packet interfaces that each layout's parent can have. */
export const SDP_LIMIT: Readonly<Record<DpuLayout, number>> = { af: 62, sdp: 128 }

const ETHERNET = '020000'
const PERIPHERAL = '088000'

/** Buses of domain 2 that have one function each, and what that is in firmware 12.24.09. */
const RVU_BUSES: readonly (readonly [number, string, string])[] = [
  ...[0x02, 0x03, 0x04].map((bus) => [bus, 'a063', ETHERNET] as const),
  ...[0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x1e].map((bus) => [bus, 'a0f9', PERIPHERAL] as const),
  ...[0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x1d].map((bus) => [bus, 'a0f0', PERIPHERAL] as const),
  ...[0x17, 0x18, 0x19, 0x1a].map((bus) => [bus, 'a0fb', PERIPHERAL] as const),
  [0x1b, 'a0e2', ETHERNET],
  [0x1c, 'a0e0', ETHERNET],
  [0x20, 'a0f2', '108000'],
]

/** Buses that newer firmware gives to the functions that the control agent works with. */
const SDP_RVU_BUSES: readonly number[] = [0x18, 0x19]

/** All functions that the DPU has when it boots, bridges included; virtual ones come with their drivers. */
export function dpuFunctions(shape: DpuShape): readonly FunctionSpec[] {
  const sdp: FunctionSpec['sriov'] = { total: shape.layout === 'sdp' ? 128 : shape.vfs + 1, offset: 1, stride: 1, device: 'a0f7' }
  const make = (address: string, device: string, classCode: string, parent: string, sriov?: FunctionSpec['sriov']): FunctionSpec => ({
    address,
    parent,
    vendor: '177d',
    device,
    subsystem: `${PART_CODE[shape.part]}00`,
    class: classCode,
    revision: shape.revision,
    ...(sriov === undefined ? {} : { sriov }),
  })
  const rvu = RVU_BUSES.filter(([bus]) => shape.layout !== 'sdp' || bus !== 0x0f).map(([bus, device, classCode]) => {
    const moved = shape.firmware === '12.25.03' && SDP_RVU_BUSES.includes(bus)
    return make(`0002:${hex(bus)}:00.0`, moved ? 'a0ef' : device, moved ? ETHERNET : classCode, behind(bus), SRIOV[device])
  })
  const parent = SDP_PARENT[shape.layout]
  const functions = [
    make('0000:00:10.0', 'a092', PERIPHERAL, 'pci0000:00'),
    make('0000:01:0f.0', 'a061', PERIPHERAL, 'pci0000:00/0000:00:0f.0'),
    make('0000:01:10.0', 'a060', '028000', 'pci0000:00/0000:00:0f.0'),
    make('0000:01:10.1', 'a060', '028000', 'pci0000:00/0000:00:0f.0'),
    make('0000:05:00.0', 'a098', '120000', 'pci0000:00/0000:00:13.0'),
    make('0000:06:00.0', 'a080', PERIPHERAL, 'pci0000:00/0000:00:14.0'),
    make('0001:00:10.0', 'a06c', PERIPHERAL, 'pci0001:00'),
    make('0002:01:00.0', 'a065', ETHERNET, behind(1), shape.layout === 'af' ? sdp : undefined),
    ...(shape.layout === 'sdp' ? [make(parent, 'a0f6', ETHERNET, behind(0x0f), sdp)] : []),
    ...rvu,
  ]
  const bridges = new Set(functions.flatMap((fn) => fn.parent.split('/').slice(1)))
  return [...[...bridges].map((address) => make(address, 'a002', '060401', `pci${address.slice(0, 7)}`)), ...functions]
}

/** Virtual functions of others than the packet interfaces. */
const SRIOV: Readonly<Record<string, FunctionSpec['sriov']>> = {
  a063: { total: 8, offset: 1, stride: 1, device: 'a064' },
  a0f2: { total: 64, offset: 1, stride: 1, device: 'a0f3' },
}

/** A bus of domain 2 is behind the bridge of the number before. */
const behind = (bus: number): string => `pci0002:00/0002:00:${hex(bus - 1)}.0`

const hex = (value: number): string => value.toString(16).padStart(2, '0')
