/**
 * What Linux gives us, from Node and without spawning processes: rtnetlink, network namespaces, peer credentials.
 *
 * @packageDocumentation
 */
export * from './host/boot-id.ts'
export * from './host/process.ts'
export type { CpuTimes, PeerCredentials } from './native/libc.ts'
export { createLinuxNet } from './net/client.ts'
export * from './net/model.ts'
export { hasPrefixRoute, routesToMake } from './net/pod-routes.ts'
export { inPrefix, normalizeCidr, normalizeIp } from './netlink/address.ts'
export { normalizeRoute } from './netlink/route.ts'
