import { randomBytes } from 'node:crypto'
import type { Route } from '@cni-offload/sdk'
import type { CniResult } from '@cni-offload/sdk/cni'
import { CniFailure, connect, lxcName, named, type PluginCall } from './call.ts'
import { type Fields, flagIn, numberIn, objectIn, textIn } from './fields.ts'
import { hasLink, inPod, inPodIfThere, ip, sysctl } from './network.ts'

const LINK_SCOPE = 253

/** Takes addresses, makes the pair, has the agent make the endpoint. What fails is undone. */
export async function add(call: PluginCall): Promise<CniResult> {
  const { env, agent, conf } = call
  if (textIn(conf, 'chaining-mode') === '' && conf['prevResult'] !== undefined)
    throw new CniFailure(999, 'unable to chain: prevResult without chaining-mode')
  const status = objectIn(await connect(() => agent.ask({ method: 'GET', path: '/config' })), 'status')
  inPodIfThere(env.netns, `link del dev ${env.ifName}`)
  const owner = `${env.args['K8S_POD_NAMESPACE'] ?? ''}/${env.args['K8S_POD_NAME'] ?? ''}`
  const ipam = await named('unable to allocate IP via local cilium agent', () =>
    agent.ask({ method: 'POST', path: `/ipam?owner=${encodeURIComponent(owner)}`, headers: { expiration: 'true' } }),
  )
  const families = familiesOf(ipam)
  const name = lxcName(env)
  try {
    const [mac, hostMac] = [randomMac(), randomMac()]
    const mtu = numberIn(status, 'deviceMTU')
    const made = ip(
      ...(hasLink(name) ? [`link del dev ${name}`] : []),
      `link add ${name} mtu ${mtu} address ${hostMac} type veth peer name ${env.ifName} mtu ${mtu} address ${mac} netns ${env.netns}`,
      `link set dev ${name} up`,
      `link show dev ${name}`,
    )
    sysctl(`net.ipv4.conf.${name}.rp_filter`, '0')
    const routeMtu = numberIn(status, 'routeMTU')
    const routes = families.flatMap(({ router, prefix, v6 }): Route[] => [
      { dst: `${router}/${prefix}`, ...(v6 ? {} : { scope: LINK_SCOPE }) },
      { dst: v6 ? '::/0' : '0.0.0.0/0', gw: router, ...(routeMtu > 0 ? { mtu: routeMtu } : {}) },
    ])
    const ips = families.map(({ address, prefix, router }) => ({ address: `${address}/${prefix}`, gateway: router, interface: 1 }))
    inPod(env.netns, {
      sysctls: {
        ...ofIpv4({ ip_local_reserved_ports: textIn(status, 'ipLocalReservedPorts') }),
        'net.ipv6.conf.all.disable_ipv6': '0',
      },
      ip: [
        `link set dev ${env.ifName} up`,
        ...families.map(({ address, prefix, v6 }) => `addr add ${address}/${prefix} dev ${env.ifName}${v6 ? ' nodad' : ''}`),
        ...routes.map(({ dst, gw, mtu, scope }) => `route add ${dst}${words({ via: gw, dev: env.ifName, mtu, scope })}`),
      ],
    })
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
      'interface-index': Number.parseInt(made, 10),
      'netns-cookie': '',
      addressing: Object.fromEntries(
        families.flatMap(({ family, address, uuid, pool }) => [
          [family, address],
          [`${family}-expiration-uuid`, uuid],
          [`${family}-pool-name`, pool],
        ]),
      ),
      'datapath-configuration': {},
    }
    const put = { method: 'PUT', path: '/endpoint/cilium-local:0', body: change }
    const endpoint = await named('unable to create endpoint', () => agent.ask(put))
    const effective = textIn(objectIn(objectIn(endpoint, 'status'), 'networking'), 'mac')
    if (effective !== '' && effective !== mac) inPod(env.netns, { ip: [`link set dev ${env.ifName} address ${effective}`] })
    const probing = textIn(status, 'packetizationLayerPMTUDMode')
    const sysctls = {
      ...(probing === '' ? {} : ofIpv4({ tcp_base_mss: '1024', tcp_mtu_probing: probing, tcp_mtu_probe_floor: '48' })),
      ...ofIpv4({ tcp_congestion_control: flagIn(status, 'enableBBRHostNamespaceOnly') ? 'cubic' : '' }),
    }
    if (Object.keys(sysctls).length > 0) inPod(env.netns, { sysctls })
    const interfaces = [
      { name, mac: hostMac },
      { name: env.ifName, mac: effective === '' ? mac : effective, sandbox: env.netns },
    ]
    return { interfaces, ips, routes, dns: {} }
  } catch (error) {
    for (const { address, pool } of families) {
      const path = `/ipam/${address}?pool=${encodeURIComponent(pool === '' ? 'default' : pool)}`
      await agent.call({ method: 'DELETE', path }).catch(() => {})
    }
    if (hasLink(name)) ip(`link del dev ${name}`)
    throw error
  }
}

/** An address that the agent has given, and what it belongs to. */
interface Given {
  readonly family: 'ipv4' | 'ipv6'
  readonly v6: boolean
  readonly prefix: number
  readonly address: string
  readonly router: string
  readonly uuid: string
  readonly pool: string
}

function familiesOf(ipam: Fields): Given[] {
  const given = (['ipv6', 'ipv4'] as const).map((family) => {
    const mine = objectIn(ipam, family)
    const v6 = family === 'ipv6'
    return {
      ...{ family, v6, prefix: v6 ? 128 : 32, address: textIn(mine, 'ip'), uuid: textIn(mine, 'expiration-uuid') },
      router: textIn(objectIn(objectIn(ipam, 'host-addressing'), family), 'ip'),
      pool: textIn(objectIn(ipam, 'address'), `${family}-pool-name`),
    }
  })
  return given.filter(({ address, router }) => address !== '' && router !== '')
}

/** Settings that have a value. */
function ofIpv4(values: Readonly<Record<string, string>>): Record<string, string> {
  const wanted = Object.entries(values).filter(([, value]) => value !== '')
  return Object.fromEntries(wanted.map(([name, value]) => [`net.ipv4.${name}`, value]))
}

function words(options: Readonly<Record<string, string | number | undefined>>): string {
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  return given.map(([name, value]) => ` ${name} ${value}`).join('')
}

function randomMac(): string {
  return ['02', ...Array.from(randomBytes(5), (octet) => octet.toString(16).padStart(2, '0'))].join(':')
}
