import { hostIpam, OffloadError, parseWith } from '@cni-offload/sdk'
import { withGateway } from '@cni-offload/sdk/cni'
import { decodeRaw, type RawResult } from '@cni-offload/sdk/exec'
import type { HostIpamResult, IpamConf } from './types.ts'

/**
 * What an IPAM plugin has given, as the agent is told it.
 *
 * @throws OffloadError ADAPTER_FAILED when it gave no address, or what no pod can have
 */
export function ipamResult(raw: RawResult, { type, cniVersion }: IpamConf): HostIpamResult {
  const { ips: given, routes, dns } = decodeRaw(raw, { cniVersion })
  if (given.length === 0)
    throw new OffloadError('ADAPTER_FAILED', `IPAM plugin "${type}" gave no address`, {
      hint: 'Name at least one address or range in "ipam" of the network configuration.',
    })
  const ips = given.map(({ interface: _none, ...ip }) => ip)
  const result = { ips, routes: routes.map((route) => withGateway(route, ips)), dns }
  return parseWith(hostIpam, result, `result of IPAM plugin "${type}"`, 'ADAPTER_FAILED')
}
