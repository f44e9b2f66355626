import { type AttachRequest, macAddress, parseWith } from '@cni-offload/sdk'
import { z } from 'zod'

const unicast = macAddress
  .refine((mac) => (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0, 'the address of one interface, not of a group')
  .refine((mac) => mac !== '00:00:00:00:00:00', 'an address other than zero')

const given = z.union([unicast, z.literal('')]).nullish()

const withArgs = z.looseObject({ args: z.looseObject({ cni: z.looseObject({ mac: given }).nullish() }).nullish(), mac: given })

/**
 * The MAC that is asked for: `runtimeConfig.mac`, else `args.cni.mac`, else `MAC` of CNI_ARGS, else `mac`. Empty is not asked for.
 *
 * @throws OffloadError INVALID_NETCONF that names the field
 */
export function wantedMac({
  netconf,
  runtimeConfig,
  cniArgs,
}: Pick<AttachRequest, 'netconf' | 'runtimeConfig' | 'cniArgs'>): string | undefined {
  const own = parseWith(withArgs, netconf, 'netconf', 'INVALID_NETCONF')
  const runtime = parseWith(z.looseObject({ mac: given }), runtimeConfig, 'runtimeConfig', 'INVALID_NETCONF')
  const args = parseWith(z.looseObject({ MAC: given }), cniArgs, 'CNI_ARGS', 'INVALID_NETCONF')
  return [runtime.mac, own.args?.cni?.mac, args.MAC, own.mac].find((mac) => mac !== undefined && mac !== null && mac !== '') ?? undefined
}
