import { z } from 'zod'
import { macAddress } from './mac-address.ts'

/** The VLAN that a card puts on what a VF sends, and takes from what it receives. The VF does not see it. */
export interface VfVlan {
  /** VLAN, 1–4094; 0 is none. */
  readonly id: number
  /** Priority, 0–7. */
  readonly qos: number
  /** What the tag is called on the wire. */
  readonly protocol: '802.1q' | '802.1ad'
}

/**
 * What a physical function makes of one of its VFs, whatever the VF itself wants (`IFLA_VF_*`). What is absent is not asked for and stays
 * as it is.
 */
export interface VfAdminSettings {
  /** MAC address, lower case with colons; all zero lets the VF choose. */
  readonly mac?: string
  /** VLAN. */
  readonly vlan?: VfVlan
  /** Least rate that it is to have, Mbit/s; 0 for no promise. */
  readonly minTxRate?: number
  /** Largest rate that it may send with, Mbit/s; 0 for no limit. */
  readonly maxTxRate?: number
  /** Whether frames with another source address than its own are dropped. */
  readonly spoofCheck?: boolean
  /** Whether it may change its own address and receive what is not for it. */
  readonly trust?: boolean
  /** Its carrier: that of the port, always on, or always off. */
  readonly linkState?: 'auto' | 'enable' | 'disable'
}

/** A setting as a driver makes it, all or nothing: the two rates are one. */
export type VfAdminSetting = 'mac' | 'vlan' | 'rate' | 'spoofCheck' | 'trust' | 'linkState'

/** The fields of {@link VfAdminSettings} that belong to each setting. */
export const VF_ADMIN_FIELDS: Readonly<Record<VfAdminSetting, readonly (keyof VfAdminSettings)[]>> = {
  mac: ['mac'],
  vlan: ['vlan'],
  rate: ['minTxRate', 'maxTxRate'],
  spoofCheck: ['spoofCheck'],
  trust: ['trust'],
  linkState: ['linkState'],
}

/** All settings there are, in one order. */
export const VF_ADMIN_SETTINGS: readonly VfAdminSetting[] = ['mac', 'vlan', 'rate', 'spoofCheck', 'trust', 'linkState']

/** Which settings are asked for; none of what is absent. */
export function askedVfSettings(settings: VfAdminSettings | undefined): VfAdminSetting[] {
  if (settings === undefined) return []
  return VF_ADMIN_SETTINGS.filter((setting) => VF_ADMIN_FIELDS[setting].some((field) => settings[field] !== undefined))
}

/** Schema of {@link VfAdminSetting}. */
export const vfAdminSetting: z.ZodType<VfAdminSetting, VfAdminSetting> = z.enum(VF_ADMIN_SETTINGS)

const rate = z.number().int().min(0).max(0xffff_ffff)

/** Schema of {@link VfVlan}. */
export const vfVlan: z.ZodType<VfVlan, VfVlan> = z.object({
  id: z.number().int().min(0).max(4094),
  qos: z.number().int().min(0).max(7),
  protocol: z.enum(['802.1q', '802.1ad']),
})

/** Schema of {@link VfAdminSettings}. */
export const vfAdminSettings: z.ZodType<VfAdminSettings, VfAdminSettings> = z
  .object({
    mac: macAddress.exactOptional(),
    vlan: vfVlan.exactOptional(),
    minTxRate: rate.exactOptional(),
    maxTxRate: rate.exactOptional(),
    spoofCheck: z.boolean().exactOptional(),
    trust: z.boolean().exactOptional(),
    linkState: z.enum(['auto', 'enable', 'disable']).exactOptional(),
  })
  .refine(({ minTxRate = 0, maxTxRate = 0 }) => maxTxRate === 0 || minTxRate <= maxTxRate, {
    path: ['minTxRate'],
    message: 'at most maxTxRate',
  })
