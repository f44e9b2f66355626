import { parseWith } from '@cni-offload/sdk'
import { type CniEnvironment, isCniVersion, type Netconf } from '@cni-offload/sdk/cni'
import { pluginType } from '@cni-offload/sdk/exec'
import { z } from 'zod'
import type { AttachIntent } from '../journal/types.ts'
import { DEFAULT_BIN_DIRS } from '../plugins/per-folders.ts'
import type { IpamConf } from './types.ts'

const asked = z.object({ hostIPAM: z.boolean().optional() })

const ipam = z.object({ ipam: z.looseObject({ type: pluginType }) })

/**
 * What a network configuration wants its IPAM plugin to be run with on this host.
 *
 * @param configured - folders of plugins, where the daemon's configuration names some
 * @returns undefined where addresses are not given on the host
 * @throws OffloadError INVALID_NETCONF naming field and value
 */
export function ipamConf(
  netconf: Netconf,
  { args, path }: Pick<CniEnvironment, 'args' | 'path'>,
  configured?: readonly string[],
): IpamConf | undefined {
  const what = `netconf of network "${netconf.name}"`
  const { hostIPAM = false } = parseWith(asked, netconf.raw, what, 'INVALID_NETCONF')
  if (!hostIPAM) return undefined
  const { type } = parseWith(ipam, { ipam: netconf.raw['ipam'] }, `${what}: hostIPAM = true`, 'INVALID_NETCONF').ipam
  // A relative folder would mean something else in the daemon, whose working directory is not the runtime's.
  const given = path.filter((folder) => folder.startsWith('/'))
  const binDirs = configured ?? (given.length > 0 ? given : DEFAULT_BIN_DIRS)
  return { type, cniVersion: netconf.cniVersion, netconf: netconf.raw, args, binDirs }
}

/** Whether an attachment was asked for with addresses of this host. */
export const hasHostIpam = ({ netconf }: Pick<AttachIntent, 'netconf'>): boolean => netconf['hostIPAM'] === true

/** What {@link ipamConf} has said once, as far as an attachment tells it: for one whose addresses the journal has lost. */
export function ipamConfOf({ netconf, runtimeConfig, cniArgs }: AttachIntent, configured?: readonly string[]): IpamConf | undefined {
  const parsed = ipam.safeParse(netconf)
  if (!hasHostIpam({ netconf }) || !parsed.success) return undefined
  const { cniVersion } = netconf
  return {
    type: parsed.data.ipam.type,
    cniVersion: isCniVersion(cniVersion) ? cniVersion : '0.1.0',
    netconf: { ...netconf, runtimeConfig },
    args: cniArgs,
    binDirs: configured ?? DEFAULT_BIN_DIRS,
  }
}
