import type { VirtualFunction } from '@cni-offload/sdk'
import { z } from 'zod'

/** Version of the device information specification that is written. */
export const DEVICE_INFO_VERSION = '1.1.0'

/** What tells a PCI device. */
export interface PciDeviceInfo {
  /** PCI address of the function, `dddd:bb:dd.f`. */
  readonly 'pci-address': string
  /** PCI address of the physical function that it belongs to. */
  readonly 'pf-pci-address'?: string | undefined
  /** Path of the vhost-net character device. */
  readonly 'vhost-net'?: string | undefined
  /** Name of its RDMA device. */
  readonly 'rdma-device'?: string | undefined
  /** Name of its representor, where that is a netdev of the host. */
  readonly 'representor-device'?: string | undefined
}

/**
 * Content of a device information file. Of the device types of the specification only `pci` is written; the maps of the other
 * types are passed on as they are when a file is read.
 *
 * @see https://github.com/k8snetworkplumbingwg/device-info-spec/blob/main/SPEC.md
 */
export interface DeviceInfo {
  /** Which kind of device it is. */
  readonly type: 'pci' | 'vdpa' | 'vhost-user' | 'memif'
  /** Version of the specification, `major.minor.patch`. */
  readonly version: string
  /** Present if the type is `pci`. */
  readonly pci?: PciDeviceInfo | undefined
}

const pci: z.ZodType<PciDeviceInfo> = z.looseObject({
  'pci-address': z.string().min(1),
  'pf-pci-address': z.string().optional(),
  'vhost-net': z.string().optional(),
  'rdma-device': z.string().optional(),
  'representor-device': z.string().optional(),
})

/** Schema of {@link DeviceInfo}. */
export const deviceInfo: z.ZodType<DeviceInfo> = z
  .looseObject({
    type: z.enum(['pci', 'vdpa', 'vhost-user', 'memif']),
    version: z.string().regex(/^\d+\.\d+\.\d+$/, 'major.minor.patch'),
    pci: pci.optional(),
  })
  .refine((info) => info.type !== 'pci' || info.pci !== undefined, { path: ['pci'], message: 'required where type is "pci"' })

/**
 * What is to be told about a VF. Undefined where it has no PCI address: the specification knows no type of device for it, and
 * a made-up one would send whoever reads it to a device that does not exist.
 */
export function vfDeviceInfo(vf: Pick<VirtualFunction, 'pciAddress' | 'pfPciAddress'>): DeviceInfo | undefined {
  const { pciAddress, pfPciAddress } = vf
  if (pciAddress === undefined) return undefined
  return {
    type: 'pci',
    version: DEVICE_INFO_VERSION,
    pci: { 'pci-address': pciAddress, ...(pfPciAddress === undefined ? {} : { 'pf-pci-address': pfPciAddress }) },
  }
}
