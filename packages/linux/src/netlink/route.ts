import { constants } from 'node:os'
import type { Route } from '@cni-offload/sdk'
import { errnoOf } from '../native/errno.ts'
import { formatIp, parseCidr, parseIp, withHostBits } from './address.ts'
import { attribute, nested, readAttributes, uint32 } from './codec.ts'
import { AF, NLM_F, RTA, RTAX, RTM } from './constants.ts'
import type { NetlinkSocket } from './socket.ts'

const RTPROT_KERNEL = 2
const RTPROT_STATIC = 4
const RTN_UNICAST = 1
const TABLE_MAIN = 254
const SCOPE_UNIVERSE = 0
const SCOPE_LINK = 253
const IP6_DEFAULT_PRIORITY = 1024
const HEADER = 12
/** The kernel makes these of larger values. */
const LARGEST_MTU = 65_535 - 15
const LARGEST_ADVMSS = 65_535 - 40

const defaultScope = (family: number, hasGateway: boolean): number => (family === AF.INET && !hasGateway ? SCOPE_LINK : SCOPE_UNIVERSE)

const defaultPriority = (family: number): number => (family === AF.INET6 ? IP6_DEFAULT_PRIORITY : 0)

const gatewayAttribute = (family: number, gw: string): Buffer => {
  const gateway = parseIp(gw)
  if (gateway.family === family) return attribute(RTA.GATEWAY, gateway.bytes)
  return attribute(RTA.VIA, Buffer.concat([Buffer.from([gateway.family, 0]), gateway.bytes]))
}

const metricAttributes = (route: Route): Buffer[] => {
  const metrics: Buffer[] = []
  if (route.mtu !== undefined) metrics.push(attribute(RTAX.MTU, uint32(route.mtu)))
  if (route.advmss !== undefined) metrics.push(attribute(RTAX.ADVMSS, uint32(route.advmss)))
  return metrics.length === 0 ? [] : [nested(RTA.METRICS, metrics)]
}

/** A static route without its metrics. */
const message = (index: number, route: Route): Buffer[] => {
  const { family, bytes, prefix } = parseCidr(route.dst)
  const table = route.table ?? TABLE_MAIN
  const scope = route.scope ?? defaultScope(family, route.gw !== undefined)
  const header = Buffer.from([family, prefix, 0, 0, table < 256 ? table : 0, RTPROT_STATIC, scope, RTN_UNICAST, 0, 0, 0, 0])
  const attributes = [attribute(RTA.OIF, uint32(index)), attribute(RTA.TABLE, uint32(table))]
  if (prefix > 0) attributes.push(attribute(RTA.DST, withHostBits(bytes, prefix, 0)))
  if (route.gw !== undefined) attributes.push(gatewayAttribute(family, route.gw))
  if (route.priority !== undefined) attributes.push(attribute(RTA.PRIORITY, uint32(route.priority)))
  return [header, ...attributes]
}

/** Adds a static route through a link; host bits of the destination are ignored. @throws Refusal */
export function addRoute(socket: NetlinkSocket, index: number, route: Route): void {
  socket.change(RTM.NEWROUTE, [...message(index, route), ...metricAttributes(route)], NLM_F.CREATE | NLM_F.EXCL)
}

const decodeGateway = (attributes: Map<number, Buffer>): string | undefined => {
  const via = attributes.get(RTA.VIA)?.subarray(2)
  const gateway = attributes.get(RTA.GATEWAY) ?? via
  return gateway === undefined ? undefined : formatIp(gateway)
}

const decodeRoute = (payload: Buffer): Route => {
  const family = payload.readUInt8(0)
  const attributes = readAttributes(payload.subarray(HEADER))
  const zero = Buffer.alloc(family === AF.INET ? 4 : 16)
  const metrics = readAttributes(attributes.get(RTA.METRICS) ?? Buffer.alloc(0))
  const gw = decodeGateway(attributes)
  const mtu = metrics.get(RTAX.MTU)?.readUInt32LE(0)
  const advmss = metrics.get(RTAX.ADVMSS)?.readUInt32LE(0)
  const priority = attributes.get(RTA.PRIORITY)?.readUInt32LE(0)
  const table = attributes.get(RTA.TABLE)?.readUInt32LE(0) ?? payload.readUInt8(4)
  return normalizeRoute({
    dst: `${formatIp(attributes.get(RTA.DST) ?? zero)}/${payload.readUInt8(1)}`,
    ...(gw === undefined ? {} : { gw }),
    ...(mtu === undefined ? {} : { mtu }),
    ...(advmss === undefined ? {} : { advmss }),
    ...(priority === undefined ? {} : { priority }),
    table,
    scope: payload.readUInt8(6),
  })
}

/**
 * A route as {@link LinuxNet.routes} reports it: addresses in their usual text form, host bits of the destination cleared,
 * numbers that equal the kernel's default left out. Two routes are the same if their normal forms are equal.
 *
 * @throws Refusal EINVAL if an address is none
 */
export function normalizeRoute(route: Route): Route {
  const { family, bytes, prefix } = parseCidr(route.dst)
  const scope = defaultScope(family, route.gw !== undefined)
  const priority = route.priority === 0 ? defaultPriority(family) : route.priority
  const [mtu, advmss, table] = [Math.min(route.mtu ?? 0, LARGEST_MTU), Math.min(route.advmss ?? 0, LARGEST_ADVMSS), route.table ?? 0]
  return {
    dst: `${formatIp(withHostBits(bytes, prefix, 0))}/${prefix}`,
    ...(route.gw === undefined ? {} : { gw: formatIp(parseIp(route.gw).bytes) }),
    ...(mtu === 0 ? {} : { mtu }),
    ...(advmss === 0 ? {} : { advmss }),
    ...(priority === undefined || priority === defaultPriority(family) ? {} : { priority }),
    ...(table === 0 || table === TABLE_MAIN ? {} : { table }),
    // IPv6 has no scopes; the kernel reports 0 whatever was asked for.
    ...(route.scope === undefined || route.scope === scope || family === AF.INET6 ? {} : { scope: route.scope }),
  }
}

/** Unicast routes of all tables through a link, the kernel's own left out. @throws Refusal */
export function listRoutes(socket: NetlinkSocket, index: number): Route[] {
  return [AF.INET, AF.INET6].flatMap((family) => {
    const header = Buffer.alloc(HEADER)
    header.writeUInt8(family, 0)
    return socket
      .dump(RTM.GETROUTE, [header, attribute(RTA.OIF, uint32(index))])
      .filter(
        ({ payload }) => payload.readUInt8(0) === family && payload.readUInt8(5) !== RTPROT_KERNEL && payload.readUInt8(7) === RTN_UNICAST,
      )
      .filter(({ payload }) => readAttributes(payload.subarray(HEADER)).get(RTA.OIF)?.readUInt32LE(0) === index)
      .map(({ payload }) => decodeRoute(payload))
  })
}

/** Removes a static route through a link, whatever its MTU and MSS; absent is success. @throws Refusal */
export function removeRoute(socket: NetlinkSocket, index: number, route: Route): void {
  const { dst, gw, table, priority } = normalizeRoute(route)
  // The kernel takes no metric for any metric: it would remove another route in place of one that is gone.
  const exists = listRoutes(socket, index).some(
    (other) => other.dst === dst && other.gw === gw && other.table === table && other.priority === priority,
  )
  if (!exists) return
  const exact = priority ?? defaultPriority(parseCidr(dst).family)
  try {
    socket.change(RTM.DELROUTE, message(index, exact === 0 ? route : { ...route, priority: exact }))
  } catch (error) {
    if (errnoOf(error) !== constants.errno.ESRCH) throw error
  }
}
