import { randomBytes } from 'node:crypto'
import { type NetOp, OWN_NETNS } from '@cni-offload/linux'
import type { CniResult } from '@cni-offload/sdk/cni'
import { z } from 'zod'
import { CniFailure, connect, deleteLink, lxcName, named, type PluginCall } from './call.ts'

const family = z.object({ ip: z.string(), 'expiration-uuid': z.string().optional() }).nullish()
const node = z.object({ enabled: z.boolean().optional(), ip: z.string().optional() }).nullish()

const allocated = z.object({
  address: z.looseObject({ 'ipv4-pool-name': z.string().optional(), 'ipv6-pool-name': z.string().optional() }),
  'host-addressing': z.object({ ipv4: node, ipv6: node }),
  ipv4: family,
  ipv6: family,
})

const configured = z.object({
  status: z.looseObject({
    deviceMTU: z.number(),
    routeMTU: z.number().default(0),
    ipLocalReservedPorts: z.string().default(''),
    packetizationLayerPMTUDMode: z.string().default(''),
    enableBBRHostNamespaceOnly: z.boolean().default(false),
  }),
})

const created = z.object({ status: z.object({ networking: z.object({ mac: z.string().default('') }).optional() }) })

const LINK_SCOPE = 253

/** Takes addresses, makes the pair, has the agent make the endpoint. What fails is undone. */
export async function add(call: PluginCall): Promise<CniResult> {
  const { env, agent, net, conf } = call
  if ((conf['chaining-mode'] ?? '') === '' && conf['prevResult'] !== undefined)
    throw new CniFailure(999, 'unable to chain: prevResult without chaining-mode')
  const { status } = await connect(() => agent.ask({ method: 'GET', path: '/config' }, configured))
  await deleteLink(net, env.netns, env.ifName)
  const owner = `${env.args['K8S_POD_NAMESPACE'] ?? ''}/${env.args['K8S_POD_NAME'] ?? ''}`
  const path = `/ipam?owner=${encodeURIComponent(owner)}`
  const ipam = await named('unable to allocate IP via local cilium agent', () =>
    agent.ask({ method: 'POST', path, headers: { expiration: 'true' } }, allocated),
  )
  const name = lxcName(env)
  try {
    const [mac, hostMac] = [randomMac(), randomMac()]
    await net.apply(OWN_NETNS, [
      { op: 'link.del', dev: name, absentOk: true },
      {
        op: 'link.add-veth',
        dev: name,
        mac: hostMac,
        mtu: status.deviceMTU,
        peer: { name: env.ifName, netns: env.netns, mac, mtu: status.deviceMTU },
      },
      { op: 'sysctl', key: `net.ipv4.conf.${name}.rp_filter`, value: '0' },
      { op: 'link.set', dev: name, up: true },
    ])
    const families = (['ipv6', 'ipv4'] as const).flatMap((family) => {
      const [ip, router] = [ipam[family]?.ip, ipam['host-addressing'][family]?.ip]
      return ip === undefined || router === undefined ? [] : [{ family, ip, router, v6: family === 'ipv6' }]
    })
    const routes = families.flatMap(({ router, v6 }) => [
      { dst: `${router}/${v6 ? 128 : 32}`, ...(v6 ? {} : { scope: LINK_SCOPE }) },
      { dst: v6 ? '::/0' : '0.0.0.0/0', gw: router, ...(status.routeMTU > 0 ? { mtu: status.routeMTU } : {}) },
    ])
    const ips = families.map(({ ip, v6, router }) => ({ address: `${ip}/${v6 ? 128 : 32}`, gateway: router, interface: 1 }))
    await net.apply(env.netns, [
      ...settings({ ip_local_reserved_ports: status.ipLocalReservedPorts }),
      { op: 'sysctl', key: 'net.ipv6.conf.all.disable_ipv6', value: '0' },
      { op: 'link.set', dev: env.ifName, up: true },
      ...ips.map(({ address }): NetOp => ({ op: 'addr.add', dev: env.ifName, address })),
      ...routes.map((route): NetOp => ({ op: 'route.add', dev: env.ifName, route })),
    ])
    const index = (await net.link(OWN_NETNS, name))?.index ?? 0
    const change = {
      state: 'waiting-for-identity',
      'sync-build-endpoint': true,
      'container-id': env.containerId,
      'container-interface-name': env.ifName,
      'k8s-namespace': env.args['K8S_POD_NAMESPACE'] ?? '',
      'k8s-pod-name': env.args['K8S_POD_NAME'] ?? '',
      'k8s-uid': env.args['K8S_POD_UID'] ?? '',
      mac,
      'host-mac': hostMac,
      'interface-name': name,
      'interface-index': index,
      'netns-cookie': '',
      addressing: Object.fromEntries(
        families.flatMap(({ family, ip }) => [
          [family, ip],
          [`${family}-expiration-uuid`, ipam[family]?.['expiration-uuid'] ?? ''],
          [`${family}-pool-name`, ipam.address[`${family}-pool-name`] ?? ''],
        ]),
      ),
      'datapath-configuration': {},
    }
    const put = { method: 'PUT', path: '/endpoint/cilium-local:0', body: change }
    const made = await named('unable to create endpoint', () => agent.ask(put, created))
    const effective = made.status.networking?.mac ?? ''
    if (effective !== '' && effective !== mac) await net.apply(env.netns, [{ op: 'link.set', dev: env.ifName, mac: effective }])
    const probing = status.packetizationLayerPMTUDMode
    await net.apply(env.netns, [
      ...(probing === '' ? [] : settings({ tcp_base_mss: '1024', tcp_mtu_probing: probing, tcp_mtu_probe_floor: '48' })),
      ...settings({ tcp_congestion_control: status.enableBBRHostNamespaceOnly ? 'cubic' : '' }),
    ])
    const interfaces = [
      { name, mac: hostMac },
      { name: env.ifName, mac: effective === '' ? mac : effective, sandbox: env.netns },
    ]
    return { interfaces, ips, routes, dns: {} }
  } catch (error) {
    for (const family of ['ipv4', 'ipv6'] as const) {
      const [ip, pool] = [ipam[family]?.ip, ipam.address[`${family}-pool-name`] ?? 'default']
      if (ip !== undefined) await agent.call({ method: 'DELETE', path: `/ipam/${ip}?pool=${encodeURIComponent(pool)}` }).catch(() => {})
    }
    await net.apply(OWN_NETNS, [{ op: 'link.del', dev: name, absentOk: true }])
    throw error
  }
}

/** Those that have a value. */
function settings(values: Readonly<Record<string, string>>): NetOp[] {
  const wanted = Object.entries(values).filter(([, value]) => value !== '')
  return wanted.map(([name, value]): NetOp => ({ op: 'sysctl', key: `net.ipv4.${name}`, value }))
}

function randomMac(): string {
  return ['02', ...Array.from(randomBytes(5), (octet) => octet.toString(16).padStart(2, '0'))].join(':')
}
