import type { IpAssignment, Route } from '../domain/network.ts'

const isV6 = (text: string): boolean => text.includes(':')

/** A route of a result with its gateway: by the specification one that names none takes that of the address of its family. */
export function withGateway(route: Route, ips: readonly IpAssignment[]): Route {
  const gw = route.gw ?? ips.find(({ address, gateway }) => gateway !== undefined && isV6(address) === isV6(route.dst))?.gateway
  return gw === undefined ? route : { ...route, gw }
}
