import {
  type AttachResult,
  type Dns,
  ERROR_CODES,
  formatAttachmentKey,
  type RepairRecord,
  type Route,
  VF_ADMIN_SETTINGS,
  type VfAdminSettings,
} from '@cni-offload/sdk'
import type { AttachCall, ResyncEvent } from '../api.ts'
import type * as wire from '../gen/offload/v1/offload.ts'

/**
 * The object without its undefined fields: the generated decoder sets every absent field to undefined, and absent is not
 * undefined in our types.
 */
export function present(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const kept: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) kept[name] = value
  return kept
}

const dnsToWire = (dns: Dns): wire.Dns => ({
  nameservers: dns.nameservers === undefined ? undefined : { values: dns.nameservers },
  domain: dns.domain,
  search: dns.search === undefined ? undefined : { values: dns.search },
  options: dns.options === undefined ? undefined : { values: dns.options },
})

const dnsFromWire = (dns: wire.Dns | undefined): Record<string, unknown> =>
  present({ nameservers: dns?.nameservers?.values, domain: dns?.domain, search: dns?.search?.values, options: dns?.options?.values })

const ipsToWire = (ips: AttachResult['ips']): wire.IpAssignment[] => ips.map(({ address, gateway }) => ({ address, gateway }))

const routesToWire = (routes: readonly Route[]): wire.Route[] =>
  routes.map(({ dst, gw, mtu, advmss, priority, table, scope }) => ({ dst, gw, mtu, advmss, priority, table, scope }))

const each = (items: readonly object[]): Record<string, unknown>[] => items.map((item) => present(item as Record<string, unknown>))

const vfToWire = ({ mac, vlan, minTxRate, maxTxRate, spoofCheck, trust, linkState }: VfAdminSettings): wire.VfAdminSettings => ({
  mac,
  vlan,
  minTxRate,
  maxTxRate,
  spoofCheck,
  trust,
  linkState,
})

/** An attachment's result as message. */
export function resultToWire(result: AttachResult): wire.AttachResult {
  return {
    mac: result.mac,
    mtu: result.mtu,
    ips: ipsToWire(result.ips),
    routes: routesToWire(result.routes),
    neighbours: result.neighbours,
    dns: dnsToWire(result.dns),
    sysctls: result.sysctls,
    vf: result.vf === undefined ? undefined : vfToWire(result.vf),
  }
}

/** A result message in the shape that the schemas parse. */
export function resultFromWire(message: wire.AttachResult | undefined): unknown {
  if (message === undefined) return undefined
  const { vf, ...rest } = message
  return {
    ...rest,
    ips: each(message.ips),
    routes: each(message.routes),
    dns: dnsFromWire(message.dns),
    ...(vf === undefined ? {} : { vf: present({ ...vf }) }),
  }
}

/** An attach call as message. */
export function attachToWire(call: AttachCall): wire.AttachRequest {
  const { key, pod, vf, vfMac, netconf, prevResult, runtimeConfig, cniArgs, hostIpam, vlan, flags, hostEnforces = [], had } = call
  return {
    key,
    pod,
    vf,
    vfMac,
    netconfJson: JSON.stringify(netconf),
    prevResultJson: prevResult === undefined ? undefined : JSON.stringify(prevResult),
    runtimeConfigJson: JSON.stringify(runtimeConfig),
    cniArgs,
    hostIpam:
      hostIpam === undefined
        ? undefined
        : { ips: ipsToWire(hostIpam.ips), routes: routesToWire(hostIpam.routes), dns: dnsToWire(hostIpam.dns) },
    vlan,
    flags,
    had: had === undefined ? undefined : resultToWire(had),
    hostEnforces,
  }
}

/** An attach message in the shape that the schemas parse. */
export function attachFromWire(message: wire.AttachRequest): unknown {
  const { key, pod, vf, vfMac, netconfJson, prevResultJson, runtimeConfigJson, cniArgs, hostIpam, vlan, flags, had } = message
  const hostEnforces = VF_ADMIN_SETTINGS.filter((setting) => message.hostEnforces.includes(setting))
  return present({
    key,
    pod,
    vf,
    vfMac,
    netconf: netconfJson,
    prevResult: prevResultJson,
    runtimeConfig: runtimeConfigJson,
    cniArgs,
    hostIpam:
      hostIpam === undefined ? undefined : { ips: each(hostIpam.ips), routes: each(hostIpam.routes), dns: dnsFromWire(hostIpam.dns) },
    vlan,
    flags: flags ?? { ipsec: false },
    hostEnforces: hostEnforces.length === 0 ? undefined : hostEnforces,
    had: resultFromWire(had),
  })
}

/** What a reconciler did, as message. */
export function repairToWire({ at, action, found, outcome, reason, times }: RepairRecord): wire.RepairRecord {
  return { atMs: BigInt(at), action, found, outcome, reason, times }
}

/** Such a message in the shape that the schemas parse. @param key - the attachment that it is about */
export function repairFromWire(message: wire.RepairRecord, key: wire.AttachmentKey | undefined): unknown {
  const { atMs, ...rest } = message
  const subject = key === undefined ? '' : formatAttachmentKey(key)
  return present({ ...rest, at: Number(atMs), key, subject })
}

/** An error inside a message, with its gRPC status for peers that do not know its code. */
export function problemToWire({ code, message }: NonNullable<ResyncEvent['error']>): wire.Problem {
  return { code, message, status: ERROR_CODES[code].grpc }
}
