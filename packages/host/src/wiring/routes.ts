import { normalizeRoute } from '@cni-offload/linux'
import type { AttachResult, Route } from '@cni-offload/sdk'

const plain = (route: Route): boolean => route.gw === undefined && route.priority === undefined && route.table === undefined

/**
 * The routes that have to be made: those to an address's own prefix are the kernel's work and exist as soon as the
 * address does. On-link ones come first, because a gateway outside of the pod's prefixes is reachable only through them.
 */
export function routesToMake(result: Pick<AttachResult, 'ips' | 'routes'>): Route[] {
  const connected = new Set(result.ips.map(({ address }) => normalizeRoute({ dst: address }).dst))
  const routes = result.routes.filter((route) => !(plain(route) && connected.has(normalizeRoute(route).dst)))
  return [...routes.filter(({ gw }) => gw === undefined), ...routes.filter(({ gw }) => gw !== undefined)]
}
