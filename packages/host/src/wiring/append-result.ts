import type { CniResult } from '@cni-offload/sdk/cni'

/** What the previous plugin of a list left, with a plugin's own result behind it. */
export function appendResult(previous: CniResult | undefined, own: CniResult): CniResult {
  if (previous === undefined) return own
  const shift = previous.interfaces.length
  return {
    interfaces: [...previous.interfaces, ...own.interfaces],
    ips: [...previous.ips, ...own.ips.map((ip) => (ip.interface === undefined ? ip : { ...ip, interface: ip.interface + shift }))],
    routes: [...previous.routes, ...own.routes],
    dns: { ...previous.dns, ...own.dns },
  }
}
